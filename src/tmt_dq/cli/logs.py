"""What tmt-dq logs while a command runs: lines on standard error, and in a file if one is named."""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from tmt_dq.errors import OutputError, printable

__all__ = ["add_file", "record_error", "show", "shown"]

_ERRORS = logging.getLogger(__name__)
"""Errors of the command: for the file alone, since standard error has them with their hints."""


class _Lines(logging.Formatter):
    """One line for each message, whatever names have in them."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        return printable(super().formatMessage(record))


class _Stderr(logging.Handler):
    """Standard error, as it is at the time of a message."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(_Lines())
        self.levels: dict[str, int] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Show a message (logging's hook)."""
        levels = [level for part, level in self.levels.items() if record.name.startswith(part)]
        if record.name != _ERRORS.name and record.levelno >= min(levels):
            click.echo(self.format(record), file=sys.stderr)


_stderr = _Stderr()


@contextlib.contextmanager
def shown() -> Iterator[None]:
    """Show warnings, and what `show` and `add_file` add, until the command has ended."""
    root = logging.getLogger("tmt_dq")
    handlers = root.handlers[:]
    _stderr.levels = {"tmt_dq": logging.WARNING}
    root.addHandler(_stderr)
    try:
        yield
    finally:
        for handler in set(root.handlers) - set(handlers):
            root.removeHandler(handler)
            handler.close()
        for part in _stderr.levels:
            logging.getLogger(part).setLevel(logging.NOTSET)


def show(level: int, part: str = "tmt_dq") -> None:
    """Show messages from a level on, of all or of one part of tmt-dq."""
    logging.getLogger(part).setLevel(min(level, logging.getLogger(part).level or level))
    _stderr.levels[part] = level


def add_file(path: Path) -> None:
    """Add all messages to a file; OutputError if that is no log."""
    try:
        with path.open("a+b") as file:
            year = os.pread(file.fileno(), 4, 0) if path.is_file() else b""
        if not year or year.isdigit():
            handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
            handler.setFormatter(_Lines("%(asctime)s %(levelname)s %(name)s: %(message)s"))
            logging.getLogger("tmt_dq").addHandler(handler)
            logging.getLogger("tmt_dq").setLevel(logging.DEBUG)
            return
    except (OSError, ValueError) as error:
        raise OutputError(f"cannot be written: {error}", where=path) from error
    hint = "Name another file for --log-file."
    raise OutputError("is there already, and is no log of tmt-dq", where=path, hint=hint)


def record_error(what: str) -> None:
    """Log an error of the command."""
    _ERRORS.error("%s", what)
