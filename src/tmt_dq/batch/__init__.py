"""Many exposures: a night, an archive, on the cores of this machine or on a cluster."""

from tmt_dq.batch.cluster import Cluster
from tmt_dq.batch.inputs import find_inputs
from tmt_dq.batch.pool import Processes
from tmt_dq.batch.records import BatchResult, FileResult, Job
from tmt_dq.batch.run import Mapper, plan_batch, run_batch, serial

__all__ = [
    "BatchResult",
    "Cluster",
    "FileResult",
    "Job",
    "Mapper",
    "Processes",
    "find_inputs",
    "plan_batch",
    "run_batch",
    "serial",
]
