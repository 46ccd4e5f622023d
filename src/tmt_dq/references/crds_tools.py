"""Runs the stock tools of crds, made to know our observatories.

The stock ``crds`` command starts ``python -m crds.<tool>`` and so never meets the adapter. Here
each tool's script class is run in this process, after the adapter was registered.
"""

import contextlib
import importlib
import os
import sys
import tempfile
from collections.abc import Iterator, MutableMapping, Sequence
from pathlib import Path, PurePath
from types import MappingProxyType
from typing import Any

from tmt_dq.references import embedded
from tmt_dq.references.adapter import register
from tmt_dq.references.server_config import provide_config

__all__ = ["TOOLS", "environment", "forget", "run"]

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

_OBSERVATORY = "tmt"
"""The observatory of the tools when CRDS_OBSERVATORY is not set: crds itself would take JWST."""

_SERVERLESS = "https://crds-serverless-mode.stsci.edu"
"""The address by which crds means "no server"; it is never contacted."""

_HELP = ("-h", "--help", "help")


def run(argv: Sequence[str], *, program: str = "tmt-dq crds") -> int:
    """Run one of crds' tools.

    Without CRDS_PATH it works on the cache that comes with the package, which it does not change.
    Without CRDS_SERVER_URL no server is contacted.

    Parameters
    ----------
    argv : sequence of str
        The tool's name and its arguments: ``["list", "--status"]``. Nothing, or ``--help``, prints
        the list of tools.
    program : str
        The command's name, for usage messages.

    Returns
    -------
    int
        Exit status: 0 if all went well, 1 if the tool found errors (or differences), 2 if the
        arguments were wrong.
    """
    name, *arguments = argv or ["--help"]
    if name in _HELP:
        sys.stdout.write(_usage(program))
        return 0
    if name not in TOOLS:
        sys.stderr.write(f"crds has no tool {name!r} that applies here.\n\n{_usage(program)}")
        return 2
    # crds writes variables into the environment when it is imported, and relies on them ever after:
    # they must stay when what is set below goes.
    register()
    with environment(os.environ, arguments):
        return _run(name, arguments, f"{program} {name}")


def _usage(program: str) -> str:
    width = max(map(len, TOOLS))
    tools = "".join(f"  {name:{width}}  {text}\n" for name, (_, _, text) in TOOLS.items())
    return f"Usage: {program} TOOL [OPTIONS]\n\nTools:\n{tools}\nHelp: {program} TOOL --help\n"


def _run(name: str, arguments: Sequence[str], program: str) -> int:
    """Run a tool's script; whatever it raises becomes an exit status."""
    forget()
    module, script, _ = TOOLS[name]
    try:
        status = getattr(importlib.import_module(module), script)([program, *arguments])()
    except SystemExit as stop:
        if isinstance(stop.code, str):
            sys.stderr.write(f"{stop.code}\n")
        # argparse ends with 2 after bad arguments; crds with -1 after all that is fatal.
        return stop.code if stop.code in (0, 2) else int(stop.code is not None)
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 (crds raises what comes; the user needs the text)
        sys.stderr.write(f"{program}: {type(error).__name__}: {error}\n")
        return 1
    return int(bool(status))


def forget() -> None:
    """Make crds forget what it keeps for a process' life: another cache, server or stderr."""
    crds: Any = importlib.import_module("crds")
    for item in vars(crds.config).values():
        if isinstance(item, crds.config.ConfigItem):
            # Should someone have deleted the variable: None is written, and read as "none" then.
            item.get()
    crds.utils.clear_function_caches()
    crds.config.CRDS_REF_SUBDIR_MODE = "None"
    crds.config.set_cache_readonly(readonly=False)
    crds.api.set_crds_server(os.environ.get("CRDS_SERVER_URL") or _SERVERLESS)
    crds.log.set_verbose(0)
    crds.log.remove_console_handler()
    crds.log.add_console_handler(stream=sys.stderr)


@contextlib.contextmanager
def environment(environ: MutableMapping[str, str], arguments: Sequence[str]) -> Iterator[None]:
    """Set what crds needs to find and was not set; afterwards all is as before."""
    before = dict(environ)
    try:
        if environ.get("CRDS_OBSERVATORY", "").lower() in ("", "none"):
            environ["CRDS_OBSERVATORY"] = _OBSERVATORY
        # A pickle in a cache would be executed.
        environ["CRDS_USE_PICKLED_CONTEXTS"] = "False"
        # crds collects garbage 20 times per file; that is nine tenths of what certify takes.
        environ["CRDS_EXPLICIT_GARBAGE_COLLECTION"] = "False"
        if not any(environ.get(name) for name in ("CRDS_PATH", "CRDS_PATH_SINGLE")):
            environ["CRDS_PATH"] = str(embedded.cache_path())
            environ["CRDS_READONLY_CACHE"] = "1"
            for name in {PurePath(argument).name for argument in arguments}:
                if embedded.provides(name):
                    embedded.ensure(name)
        with tempfile.TemporaryDirectory(prefix="tmt-dq-crds-") as folder:
            if not environ.get("CRDS_SERVER_URL"):
                provide_config(Path(folder), environ["CRDS_OBSERVATORY"].lower(), environ)
            yield
    finally:
        for name in set(environ) - set(before):
            del environ[name]
        environ.update(before)
