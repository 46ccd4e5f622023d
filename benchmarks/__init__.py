"""Measurements of tmt-dq against ``cp`` and against its peers; see docs/topics/performance.md."""
