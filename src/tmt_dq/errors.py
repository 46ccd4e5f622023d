"""Every exception that tmt-dq raises on purpose.

Each class says who has to act, is also a builtin exception (so that ``except ValueError`` works),
carries the exit code of the command line, and survives pickling (so that it crosses processes).
"""

import functools
from collections.abc import Sequence
from typing import Any, ClassVar

__all__ = [
    "AlreadyInitializedError",
    "BatchError",
    "CertificationError",
    "ConfigError",
    "DeliveryError",
    "GeometryError",
    "MaskFormatError",
    "NoMatchError",
    "OutputError",
    "RampFormatError",
    "RemoteError",
    "SelectionError",
    "TmtDqError",
    "UnexplainedFlagsError",
    "UnknownFlagError",
    "WorkerError",
]


def printable(text: object) -> str:
    """Return text, often a name, with what moves the cursor or breaks lines as escape sequences."""
    shown = str(text)
    if shown.isprintable():
        return shown
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in shown)


class TmtDqError(Exception):
    """An error with a place, a finding, an expectation and a remedy.

    Parameters
    ----------
    what : str
        What was found and what was expected, in one sentence or, for several problems, one a line.
    where : str or None
        The file, extension or parameter concerned.
    hint : str or None
        What the user can do about it.
    options : sequence of str
        Options that the hint is about, by their names in Python. The text of the error shows them
        as keywords (``flag=…``); a command line shows its own names for them (``--user-flag``).

    Attributes
    ----------
    exit_code : int
        Exit status of the command line when this error ends it.
    """

    exit_code: ClassVar[int] = 1

    def __init__(
        self,
        what: str,
        *,
        where: object = None,
        hint: str | None = None,
        options: Sequence[str] = (),
    ) -> None:
        self.what = what
        self.where = None if where is None else str(where)
        self.hint = hint
        self.options = tuple(options)
        super().__init__(str(self))

    def advice(self, names: Sequence[str]) -> str | None:
        """Return the hint with the options that it is about, under the names of a face."""
        if not names:
            return self.hint
        listing = ", ".join(names)
        return listing if self.hint is None else f"{self.hint.rstrip('.')} ({listing})."

    def __str__(self) -> str:
        message = self.what if self.where is None else f"{printable(self.where)}: {self.what}"
        advice = self.advice([f"{option}=…" for option in self.options])
        return message if advice is None else f"{message}\n{advice}"

    def __reduce__(self) -> tuple[Any, ...]:
        make = functools.partial(type(self), where=self.where, hint=self.hint, options=self.options)
        return make, (self.what,)


class ConfigError(TmtDqError, ValueError):
    """An option, a variable or a combination of them makes no sense."""

    exit_code = 2


class RampFormatError(TmtDqError, ValueError):
    """The input is not a ramp that can be understood: not FITS, truncated, no SCI, no keywords.

    Attributes
    ----------
    needs : int or None
        Bytes that a truncated file must have at least; None where it is not that.
    """

    exit_code = 3
    needs: int | None = None


class AlreadyInitializedError(RampFormatError):
    """An exposure was initialized already: twice the flags of two masks would be wrong."""


class UnexplainedFlagsError(RampFormatError):
    """The sources that an initialized exposure names do not explain its flags."""


class MaskFormatError(TmtDqError, ValueError):
    """A mask or user DQ file is not one, belongs elsewhere or holds impossible values."""

    exit_code = 4


class UnknownFlagError(MaskFormatError, KeyError):
    """A flag name, or a bit that no name declares, is not in the convention."""

    # KeyError shows the repr of its argument; a message with line breaks must not be quoted.
    __str__ = TmtDqError.__str__


class GeometryError(TmtDqError, ValueError):
    """Shapes or subarray positions contradict one another."""

    exit_code = 5


class SelectionError(TmtDqError, LookupError):
    """No reference file could be selected, or the one selected is not there."""

    exit_code = 6


class NoMatchError(SelectionError):
    """The rules were applied and none of them matches the exposure."""


class CertificationError(TmtDqError, ValueError):
    """A mask does not satisfy what a delivery demands."""

    exit_code = 7


class DeliveryError(TmtDqError, RuntimeError):
    """A delivery into a cache could not be completed; the cache is as it was."""

    exit_code = 8


class BatchError(ExceptionGroup[Exception]):
    """Some exposures of a batch failed; each one's own error is in `exceptions`."""

    exit_code: ClassVar[int] = 9

    def derive(self, excs: Sequence[Exception], /) -> "BatchError":  # type: ignore[override]  # not generic
        """Return a group of the same kind around `excs` (used by ``except*``)."""
        return BatchError(self.message, excs)


class WorkerError(TmtDqError, RuntimeError):
    """A worker of a batch was lost, or is not fit for the work; the exposure may be in order."""

    exit_code = 9


class OutputError(TmtDqError, OSError):
    """The output cannot be written: it exists, the folder is missing, the disk is full."""

    exit_code = 10

    # OSError formats its own arguments; ours are not (errno, strerror).
    __str__ = TmtDqError.__str__


class RemoteError(TmtDqError, OSError):
    """A file elsewhere cannot be read: not there, no right to it, no connection, or it changes."""

    exit_code = 11

    __str__ = TmtDqError.__str__
