"""crds' own tools in a process of their own: ``python -m tmt_dq.references.crds_process TOOL ...``.

crds writes variables into the environment, keeps what it read under names that two caches can
share, logs to a logger that everyone shares, and ends the process where it cannot go on. The stock
``crds`` command starts ``python -m crds.<tool>`` and so never meets our adapter.
"""

import importlib
import json
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tmt_dq.errors import ConfigError
from tmt_dq.references.adapter import import_crds
from tmt_dq.references.crds_tools import CERTIFY_FILE, TOOLS

__all__ = ["main"]


def main(arguments: Sequence[str]) -> int:
    """Run a tool; return its exit status."""
    tool, *words = arguments
    try:
        crds = import_crds()
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    if tool == CERTIFY_FILE:
        return _certify_file(*words)
    # As crds has it where it is imported in the usual way: its variables, its handler.
    for item in vars(crds.config).values():
        if isinstance(item, crds.config.ConfigItem):
            item.get()
    logger = logging.getLogger("CRDS")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    crds.log.remove_console_handler()
    crds.log.add_console_handler(stream=sys.stderr)
    return _run(tool, words)


def _run(name: str, arguments: Sequence[str]) -> int:
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
    certify: Any = importlib.import_module("crds.certify")
    certify.certify_file(path, context, observatory=observatory)
    sys.stdout.write(json.dumps(found))
    return 0


if __name__ == "__main__":
    # A reader of the output that has seen enough (head) ends the process without a traceback.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    sys.exit(main(sys.argv[1:]))
