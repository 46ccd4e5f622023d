"""Many exposures: a night, an archive, on the cores of this machine or on a cluster.

Names are imported when they are first used: a worker loads what its work needs and no more.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tmt_dq.batch.cluster import Cluster
    from tmt_dq.batch.inputs import find_inputs
    from tmt_dq.batch.mappers import Mapper, Processes, serial
    from tmt_dq.batch.records import FileResult, Planned
    from tmt_dq.batch.run import plan_batch, run_batch
    from tmt_dq.batch.totals import BatchResult

_HOMES = {
    "BatchResult": "totals",
    "Cluster": "cluster",
    "FileResult": "records",
    "Mapper": "mappers",
    "Planned": "records",
    "Processes": "mappers",
    "find_inputs": "inputs",
    "plan_batch": "run",
    "run_batch": "run",
    "serial": "mappers",
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
