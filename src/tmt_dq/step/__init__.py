"""Data-quality initialization as a step of stpipe.

`DQInitStep` is imported when it is first used: stpipe is slow to load.
"""

from typing import Any

__all__ = ["DQInitStep"]


def __getattr__(name: str) -> Any:
    if name == "DQInitStep":
        from tmt_dq.references.adapter import import_crds

        import_crds()  # stpipe imports it too, and would not say what is wrong with a variable
        from tmt_dq.step.step import DQInitStep

        return DQInitStep
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
