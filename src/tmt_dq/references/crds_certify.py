"""CRDS' own ``certify`` of a reference, with the observatory's constraints (.tpn files)."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from tmt_dq.errors import CertificationError
from tmt_dq.references import crds_tools
from tmt_dq.references.cache import Cache

__all__ = ["Message", "certify_reference"]


@dataclass(frozen=True, slots=True)
class Message:
    """What crds found in a reference: an ERROR or a WARNING, and its text."""

    level: str
    text: str


def certify_reference(path: Path, cache: Cache, context: str) -> tuple[Message, ...]:
    """Run CRDS' certify on a reference, whose name ends in .fits; return its errors and warnings.

    The cache and the context are those that the reference is to fit; the context's rules must have
    been examined, since crds executes them. CertificationError is raised if crds did not finish.
    """
    environ = {name: value for name, value in os.environ.items() if not name.startswith("CRDS_")}
    environ |= {
        "CRDS_PATH": str(cache.root),
        "CRDS_MAPPATH_SINGLE": str(cache.mappings),
        "CRDS_REFPATH_SINGLE": str(cache.references),
        "CRDS_CFGPATH_SINGLE": str(cache.config),
        "CRDS_OBSERVATORY": cache.observatory,
        "CRDS_READONLY_CACHE": "1",
    }
    process = crds_tools.start(
        [crds_tools.CERTIFY_FILE, str(path), context, cache.observatory],
        environ,
        capture_output=True,
    )
    if process.returncode:
        last = process.stderr.strip().splitlines()[-1:] or ["no message"]
        raise CertificationError(
            f"CRDS' certify ended with status {process.returncode}: {last[0]}",
            where=path,
            hint=f"See all of its output: tmt-dq crds certify {path}",
        )
    return tuple(Message(level, text) for level, text in json.loads(process.stdout))
