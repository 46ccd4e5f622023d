"""CRDS' own ``certify`` of a reference, in a process of its own.

crds writes variables into the environment of the process that imports it, keeps what it read under
names that two caches can share, and logs to a logger that everyone shares. It is therefore run
apart, with an environment made for it, and says what it found as JSON. Its trial insertion, which
writes to a fixed path in /tmp, is left out: a delivery inserts the reference itself.
"""

import json
import logging
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tmt_dq.errors import CertificationError
from tmt_dq.references.cache import Cache

__all__ = ["Message", "certify_reference"]

_LEVELS = ("ERROR", "WARNING")


@dataclass(frozen=True, slots=True)
class Message:
    """What crds has to say of a reference.

    Parameters
    ----------
    level : str
        ERROR or WARNING.
    text : str
        Its words.
    """

    level: str
    text: str


def certify_reference(path: Path, cache: Cache, context: str) -> tuple[Message, ...]:
    """Run CRDS' certify, with the observatory's constraints (.tpn files), on a reference.

    Parameters
    ----------
    path : Path
        The file; its name ends in .fits.
    cache : Cache
        The cache with the rules that it is to fit.
    context : str
        The rules, which were examined already.

    Returns
    -------
    tuple of Message
        Errors and warnings.

    Raises
    ------
    CertificationError
        Raised if crds could not be run to its end.
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
    process = subprocess.run(  # noqa: S603 (our own interpreter and module)
        [sys.executable, "-W", "ignore", "-m", __name__, str(path), context, cache.observatory],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    if process.returncode:
        last = process.stderr.strip().splitlines()[-1:] or ["no message"]
        raise CertificationError(
            f"CRDS' certify ended with status {process.returncode}: {last[0]}",
            where=path,
            hint=f"See all that it says: tmt-dq crds certify {path}",
        )
    return tuple(Message(level, text) for level, text in json.loads(process.stdout))


class _Collector(logging.Handler):
    """Keeps what crds logs."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelname in _LEVELS:
            self.found.append((record.levelname, " ".join(record.getMessage().split())))


def main(path: str, context: str, observatory: str) -> None:
    """Run certify in this process, which is its own, and print what it found."""
    import importlib

    from tmt_dq.references import crds_tools
    from tmt_dq.references.adapter import register

    register()
    collector = _Collector()
    with crds_tools.environment(os.environ, []):
        crds_tools.forget()
        log: Any = importlib.import_module("crds.core.log")
        certify: Any = importlib.import_module("crds.certify")
        log.remove_console_handler()
        logging.getLogger("CRDS").addHandler(collector)
        certify.certify_file(path, context, observatory=observatory)
    prefix = f"In {Path(path).name!r} : "
    found = [(level, text.strip().removeprefix(prefix)) for level, text in collector.found]
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
