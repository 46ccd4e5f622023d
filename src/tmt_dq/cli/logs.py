"""What tmt-dq logs while a command runs: lines on standard error, and in a file if one is named."""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from tmt_dq.errors import OutputError, printable

_ROOT = logging.getLogger("tmt_dq")
_ERRORS = logging.getLogger(__name__)
"""Errors of the command: for the file alone, since standard error has them with their hints."""

_levels: dict[str, int] = {}
"""From which level on standard error shows the messages of each part of tmt-dq."""


class _Lines(logging.Formatter):
    """One line for each message, whatever names have in them."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        return printable(super().formatMessage(record))


class _Stderr(logging.Handler):
    """Standard error, as it is at the time of a message."""

    def emit(self, record: logging.LogRecord) -> None:
        """Show a message (logging's hook)."""
        levels = [level for part, level in _levels.items() if record.name.startswith(part)]
        if record.name != _ERRORS.name and record.levelno >= min(levels):
            click.echo(self.format(record), file=sys.stderr)


@contextlib.contextmanager
def shown() -> Iterator[None]:
    """Show warnings, and what `show` and `add_file` add, until the command has ended."""
    before = _ROOT.handlers[:]
    _levels.clear()
    _levels["tmt_dq"] = logging.WARNING
    _add(_Stderr(), "%(message)s")
    try:
        yield
    finally:
        for handler in set(_ROOT.handlers) - set(before):
            _ROOT.removeHandler(handler)
            handler.close()
        for part in _levels:
            logging.getLogger(part).setLevel(logging.NOTSET)


def _add(handler: logging.Handler, form: str) -> None:
    handler.setFormatter(_Lines(form))
    _ROOT.addHandler(handler)


def show(level: int, part: str = "tmt_dq") -> None:
    """Show messages from a level on, of all or of one part of tmt-dq."""
    logger = logging.getLogger(part)
    logger.setLevel(min(level, logger.level or level))
    _levels[part] = level


def add_file(path: Path) -> None:
    """Add all messages to a file; OutputError if that is no log."""
    try:
        with path.open("a+b") as file:
            year = os.pread(file.fileno(), 4, 0) if path.is_file() else b""
        if year and not year.isdigit():
            raise OutputError(
                "is there already, and is no log of tmt-dq",
                where=path,
                hint="Name another file for --log-file.",
            )
        handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    except (OSError, ValueError) as error:
        if isinstance(error, OutputError):
            raise
        what = getattr(error, "strerror", None) or error
        raise OutputError(f"cannot be written: {what}", where=path) from error
    _add(handler, "%(asctime)s %(levelname)s %(name)s: %(message)s")
    _ROOT.setLevel(logging.DEBUG)


def record_error(what: str) -> None:
    """Log an error of the command."""
    _ERRORS.error("%s", what)
