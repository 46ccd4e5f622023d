"""Many exposures: a night, an archive, on the cores of this machine or on a cluster.

Names are imported when they are first used: a worker loads what its work needs and no more.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tmt_dq.batch.account import BatchResult
    from tmt_dq.batch.cluster import Cluster
    from tmt_dq.batch.inputs import find_inputs
    from tmt_dq.batch.jobs import FileResult
    from tmt_dq.batch.plan import Planned
    from tmt_dq.batch.processes import Processes, serial
    from tmt_dq.batch.run import Mapper, plan_batch, run_batch

_HOMES = {
    "BatchResult": "account",
    "Cluster": "cluster",
    "FileResult": "jobs",
    "Mapper": "run",
    "Planned": "plan",
    "Processes": "processes",
    "find_inputs": "inputs",
    "plan_batch": "run",
    "run_batch": "run",
    "serial": "processes",
}

__all__ = [
    "BatchResult",
    "Cluster",
    "FileResult",
    "Mapper",
    "Planned",
    "Processes",
    "find_inputs",
    "plan_batch",
    "run_batch",
    "serial",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
