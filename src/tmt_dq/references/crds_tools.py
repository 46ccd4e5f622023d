"""Runs the stock tools of crds, made to know our observatories, in a process of their own."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from types import MappingProxyType
from typing import Any

from tmt_dq.references import embedded
from tmt_dq.references.cache import crds_variables
from tmt_dq.references.server_config import provide_config

__all__ = ["CERTIFY_FILE", "TOOLS", "run", "start"]

TOOLS = MappingProxyType(
    {
        "bestrefs": ("crds.bestrefs.bestrefs", "BestrefsScript", "select references for datasets"),
        "certify": ("crds.certify.certify", "CertifyScript", "check references and rules"),
        "checksum": ("crds.refactoring.checksum", "ChecksumScript", "write or verify sha1sums"),
        "diff": ("crds.diff", "DiffScript", "compare rules or references"),
        "list": ("crds.list", "ListScript", "list contexts, rules, references, configuration"),
        "matches": ("crds.matches", "MatchesScript", "list the rules that lead to a reference"),
        "newcontext": ("crds.refactoring.newcontext", "NewContextScript", "make a context"),
        "refactor": ("crds.refactoring.refactor", "RefactorScript", "change rules"),
        "refactor2": ("crds.refactoring.refactor2", "RefactorScript2", "change rules (newer form)"),
        "rowdiff": ("crds.rowdiff", "RowDiffScript", "compare tables row by row"),
        "sync": ("crds.sync", "SyncScript", "fill a cache from a server"),
        "uses": ("crds.uses", "UsesScript", "list the rules that mention a file"),
    }
)
"""Tool: its module, its class, what it does."""

CERTIFY_FILE = "certify-file"
"""Beside them: certify one reference, and print what crds found as JSON."""

_OBSERVATORY = "tmt"
"""The observatory of the tools when CRDS_OBSERVATORY is not set: crds itself would take JWST."""

_HELP = ("-h", "--help", "help")


def run(argv: Sequence[str], *, program: str = "tmt-dq crds") -> int:
    """Run one of crds' tools; return its exit status.

    `argv` is the tool's name and its arguments, ``["list", "--status"]``; nothing, or ``--help``,
    prints the list of tools. Without CRDS_PATH a tool works on the cache that comes with the
    package, which it does not change. Without CRDS_SERVER_URL no server is contacted. The status is
    0 if all went well, 1 if the tool found errors (or differences), 2 if the arguments were wrong.
    """
    name, *arguments = argv or ["--help"]
    if name in _HELP:
        sys.stdout.write(_usage(program))
        return 0
    if name not in TOOLS:
        sys.stderr.write(f"crds has no tool {name!r} that applies here.\n\n{_usage(program)}")
        return 2
    sys.stdout.flush()
    status = start([name, *arguments], crds_variables(os.environ)).returncode
    # What it was piped into has seen enough.
    return 0 if status == -signal.SIGPIPE else status


def start(
    arguments: Sequence[str], environ: Mapping[str, str], **options: Any
) -> "subprocess.CompletedProcess[str]":
    """Run `tmt_dq.references.crds_process` with an environment, and wait for its end."""
    command = [sys.executable, "-W", "ignore", "-m", "tmt_dq.references.crds_process", *arguments]
    with tempfile.TemporaryDirectory(prefix="tmt-dq-crds-") as folder:
        complete = _completed(environ, arguments, Path(folder))
        return subprocess.run(  # noqa: S603 (our own interpreter and module)
            command, env=complete, check=False, text=True, **options
        )


def _usage(program: str) -> str:
    width = max(map(len, TOOLS))
    tools = "".join(f"  {name:{width}}  {text}\n" for name, (_, _, text) in TOOLS.items())
    return f"Usage: {program} TOOL [OPTIONS]\n\nTools:\n{tools}\nHelp: {program} TOOL --help\n"


def _completed(
    environ: Mapping[str, str], arguments: Sequence[str], folder: Path
) -> dict[str, str]:
    """Return an environment with the variables that crds needs."""
    found = dict(environ)
    if found.get("CRDS_OBSERVATORY", "").lower() in ("", "none"):
        found["CRDS_OBSERVATORY"] = _OBSERVATORY
    # A pickle in a cache would be executed.
    found["CRDS_USE_PICKLED_CONTEXTS"] = "False"
    # crds collects garbage 20 times per file; that is nine tenths of what certify takes.
    found["CRDS_EXPLICIT_GARBAGE_COLLECTION"] = "False"
    if not any(found.get(name) for name in ("CRDS_PATH", "CRDS_PATH_SINGLE")):
        found["CRDS_PATH"] = str(embedded.cache_path())
        found["CRDS_READONLY_CACHE"] = "1"
        for name in {PurePath(argument).name for argument in arguments}:
            if embedded.provides(name):
                embedded.ensure(name)
    if not found.get("CRDS_SERVER_URL"):
        provide_config(folder, found["CRDS_OBSERVATORY"].lower(), found)
    return found
