"""The stock tools of crds, made to know our observatories, each run in a process of its own.

crds writes variables into the environment, keeps what it read under names that two caches can
share, logs to a logger that everyone shares, and ends the process where it cannot go on. The stock
``crds`` command starts ``python -m crds.<tool>`` and so never meets our adapter; here the process
is ``python -m tmt_dq.references.crds_tools TOOL ...``.
"""

import contextlib
import importlib
import json
import logging
import os
import pprint
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from types import MappingProxyType
from typing import Any

from tmt_dq.errors import CertificationError, ConfigError, SelectionError
from tmt_dq.references import embedded
from tmt_dq.references.adapter import import_crds
from tmt_dq.references.cache import SEPARATE, Cache, crds_variables, open_caches
from tmt_dq.references.observatories import available

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

_CERTIFY_FILE = "certify-file"
"""Beside them: certify one reference, and print what crds found as JSON."""


def run(argv: Sequence[str], *, program: str = "tmt-dq crds") -> int:
    """Run a tool with its arguments; return 0, 1 if it found errors, or 2 if they were wrong.

    No arguments, or ``--help``, print the list of tools. Without CRDS_PATH a tool works on the
    cache that comes with the package; without CRDS_SERVER_URL no server is contacted.
    """
    name, *arguments = argv or ["--help"]
    if name in ("-h", "--help", "help"):
        sys.stdout.write(_usage(program))
        return 0
    if name not in TOOLS:
        sys.stderr.write(f"crds has no tool {name!r} that applies here.\n\n{_usage(program)}")
        return 2
    sys.stdout.flush()
    status = _start([name, *arguments], crds_variables()).returncode
    # What it was piped into has seen enough.
    return 0 if status == -signal.SIGPIPE else status


def certify_reference(path: Path, cache: Cache, context: str) -> list[tuple[str, str]]:
    """Run CRDS' certify on a reference; return what it found: ERROR or WARNING, and a text.

    The context's rules must have been examined, since crds executes them. CertificationError is
    raised if crds did not finish.
    """
    environ = {name: value for name, value in os.environ.items() if not name.startswith("CRDS_")}
    environ |= {
        "CRDS_PATH": str(cache.root),
        "CRDS_OBSERVATORY": cache.observatory,
        "CRDS_READONLY_CACHE": "1",
    }
    words = [_CERTIFY_FILE, str(path), context, cache.observatory]
    process = _start(words, environ, capture_output=True)
    if process.returncode:
        last = process.stderr.strip().splitlines()[-1:] or ["no message"]
        raise CertificationError(
            f"CRDS' certify ended with status {process.returncode}: {last[0]}",
            where=path,
            hint=f"See all of its output: tmt-dq crds certify {path}",
        )
    return [(level, text) for level, text in json.loads(process.stdout)]


def _usage(program: str) -> str:
    width = max(map(len, TOOLS))
    tools = "".join(f"  {name:{width}}  {text}\n" for name, (_, _, text) in TOOLS.items())
    return f"Usage: {program} TOOL [OPTIONS]\n\nTools:\n{tools}\nHelp: {program} TOOL --help\n"


def _start(
    arguments: Sequence[str], environ: Mapping[str, str], **options: Any
) -> "subprocess.CompletedProcess[str]":
    """Run this module with a tool's arguments, and wait for its end."""
    command = [sys.executable, "-W", "ignore", "-m", "tmt_dq.references.crds_tools", *arguments]
    with tempfile.TemporaryDirectory(prefix="tmt-dq-crds-") as folder:
        complete = _completed(environ, arguments, Path(folder))
        return subprocess.run(  # noqa: S603 (our own interpreter and module)
            command, env=complete, check=False, text=True, **options
        )


def _completed(
    environ: Mapping[str, str], arguments: Sequence[str], folder: Path
) -> dict[str, str]:
    """Return an environment with the variables that crds needs."""
    found = dict(environ)
    # A pickle in a cache would be executed.
    found["CRDS_USE_PICKLED_CONTEXTS"] = "False"
    # crds collects garbage 20 times per file; that is nine tenths of what certify takes.
    found["CRDS_EXPLICIT_GARBAGE_COLLECTION"] = "False"
    if not found.get("CRDS_PATH"):
        found["CRDS_PATH"] = str(embedded.cache_path())
        found["CRDS_READONLY_CACHE"] = "1"
        for name in {PurePath(argument).name for argument in arguments}:
            if embedded.provides(name):
                embedded.ensure(name)
    try:
        caches = {
            cache.observatory: (cache.server_config(), context)
            for cache, context in open_caches(
                found["CRDS_PATH"], found.get("CRDS_CONTEXT") or "latest"
            )
        }
    except (ConfigError, SelectionError):
        caches = {}  # the tool may not need a context, and says itself what it misses
    observatory = found.get("CRDS_OBSERVATORY", "").lower()
    if observatory in ("", "none"):
        # crds itself would take JWST.
        observatory = found["CRDS_OBSERVATORY"] = next(iter(caches), available()[0])
    if not found.get("CRDS_SERVER_URL") and not any(map(found.get, SEPARATE)):
        config, context = caches.get(observatory, ({}, ""))
        if context and not config:
            found["CRDS_CFGPATH"] = _write_config(folder, observatory, context)
    return found


def _write_config(folder: Path, observatory: str, context: str) -> str:
    """Write a configuration for crds, where the cache has none, into a folder outside of the cache.

    Without its ``server_config`` crds ends the process, whatever the tool; TMT's published cache
    has none.
    """
    config = {
        **dict.fromkeys(("edit_context", "latest_context", "operational_context"), context),
        "bad_files": "",
        "bad_files_list": [],
        "force_remote_mode": False,
        "last_synced": "never: this cache has no server",
        "observatory": observatory,
        "server": "none",
    }
    (folder / observatory).mkdir()
    (folder / observatory / "server_config").write_text(f"{pprint.pformat(config)}\n", "utf-8")
    (folder / observatory / "ref_cache_subdir_mode").write_text("instrument", "utf-8")
    return str(folder)


def _main(arguments: Sequence[str]) -> int:
    """Run a tool; return its exit status."""
    tool, *words = arguments
    # As everybody imports it: with its variables and its handler, which the adapter removes.
    with contextlib.suppress(Exception):  # the adapter tells what is wrong
        importlib.import_module("crds")
    try:
        import_crds()
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    if tool == _CERTIFY_FILE:
        return _certify_file(*words)
    return _run_script(tool, words)


def _run_script(name: str, arguments: Sequence[str]) -> int:
    """Run a tool's script; whatever it raises becomes an exit status."""
    module, script, _ = TOOLS[name]
    program = f"tmt-dq crds {name}"
    try:
        status = getattr(importlib.import_module(module), script)([program, *arguments])()
    except SystemExit as stop:
        if isinstance(stop.code, str):
            sys.stderr.write(f"{stop.code}\n")
        # argparse ends with 2 after bad arguments; crds with -1 after all that is fatal.
        return stop.code if stop.code in (0, 2) else int(stop.code is not None)
    except Exception as error:  # noqa: BLE001 (crds raises what comes; the user needs the text)
        sys.stderr.write(f"{program}: {type(error).__name__}: {error}\n")
        return 1
    return int(bool(status))


def _certify_file(path: str, context: str, observatory: str) -> int:
    """Certify a reference with crds, without the trial insertion, which writes to a fixed path."""
    found: list[tuple[str, str]] = []
    prefix = f"In {Path(path).name!r} : "

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelname in ("ERROR", "WARNING"):
                text = " ".join(record.getMessage().split())
                found.append((record.levelname, text.removeprefix(prefix)))

    logger = logging.getLogger("CRDS")
    logger.setLevel(logging.DEBUG)
    logger.propagate, logger.handlers[:] = False, [Collector()]
    importlib.import_module("crds.certify").certify_file(path, context, observatory=observatory)
    sys.stdout.write(json.dumps(found))
    return 0


if __name__ == "__main__":
    # A reader of the output that has seen enough (head) ends the process without a traceback.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    sys.exit(_main(sys.argv[1:]))
