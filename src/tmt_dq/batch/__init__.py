"""Many exposures: a night, an archive, on the cores of this machine or on a cluster."""

from tmt_dq.batch.cluster import Cluster
from tmt_dq.batch.inputs import find_inputs
from tmt_dq.batch.jobs import FileResult
from tmt_dq.batch.plan import Planned
from tmt_dq.batch.processes import Processes, serial
from tmt_dq.batch.run import BatchResult, Mapper, plan_batch, run_batch

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
