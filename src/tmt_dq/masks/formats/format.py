"""Formats of bad-pixel files in general: what a file states, or else the user, and its columns."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tmt_dq.core.geometry import Window
from tmt_dq.errors import ConfigError, MaskFormatError
from tmt_dq.instruments import Detector, Instrument
from tmt_dq.masks.mask import Mask
from tmt_dq.masks.reading import Reading

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Target:
    """The detector that flags are read for."""

    shape: tuple[int, int]
    names: frozenset[str] = frozenset()
    others: frozenset[str] = frozenset()
    data: Window | None = None

    @classmethod
    def of(cls, instrument: Instrument, detector: Detector, data: Window | None = None) -> "Target":
        """Return the target for a detector that is described."""
        names = {
            other.name: {name.upper() for name in (other.name, *other.aliases)}
            for other in instrument.detectors.values()
        }
        own = frozenset(names.get(detector.name, {detector.name.upper()}))
        return cls(detector.shape, own, frozenset().union(*names.values()) - own, data)


@dataclass(frozen=True, slots=True)
class Format:
    """A format of bad-pixel files.

    Parameters
    ----------
    name : str
        What a file of this format is, for messages: "a DS9 region file".
    recognizes : callable
        (path, first 4096 bytes) to whether the file is of this format.
    read : callable
        (path, reading, target) to the flags of the whole detector.
    options : frozenset of str
        Fields of `Reading` that mean something to this format; the others are refused.
    positions : bool
        Whether a file holds positions (a list or regions) and not an image.
    """

    name: str
    recognizes: Callable[[Path, bytes], bool]
    read: Callable[[Path, Reading, Target], Mask]
    options: frozenset[str]
    positions: bool = True


def flag_of(reading: Reading, path: Path, what: str, own: int = 0) -> np.uint32:
    """Return the flags of `what` in a file: its `own`, 0 if it has none, or the user's."""
    given = reading.flag_value
    if own and given and own != given:
        finding = f"{what} has flags of its own, but flag is {reading.flag}"
    elif own or given:
        return np.uint32(own or given)
    else:
        finding = f"{what} does not state which flag its pixels get"
    raise ConfigError(
        finding,
        where=path,
        hint="Give a flag, for example HOT, where the file has none.",
        options=("flag",),
    )


def base_of(reading: Reading, path: Path, stated: int | None, to_state: str = "") -> int:
    """Return the number of the first pixel, as a file states it (`to_state`) or the user."""
    given = reading.base if stated is None else stated
    if given is not None and reading.base in (None, given):
        return given
    finding = "does not state whether its first pixel is 0 or 1"
    hint = f"Give the base, or add {to_state} to the file." if to_state else "Give the base."
    if stated is not None:
        finding = f"counts from {stated}, but base is {reading.base}"
        hint = "Leave the base out."
    raise ConfigError(finding, where=path, hint=hint, options=("base",))


def refuse(reading: Reading, path: Path, why: str, *names: str) -> None:
    """Refuse options that mean nothing for a file: the user expects something of them."""
    given = [name for name in names if getattr(reading, name) is not None]
    if given:
        raise ConfigError(
            f"{', '.join(given)} cannot be used: {why}",
            where=path,
            hint="Leave it out.",
            options=given,
        )


def read_text(path: Path) -> str:
    """Return the content of a UTF-8 text, without a byte order mark."""
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MaskFormatError(
            f"is no UTF-8 text: byte {error.start} is 0x{error.object[error.start]:02x}",
            where=path,
            hint="Save it as UTF-8 or ASCII.",
        ) from error


def whole_detector(
    path: Path, dq: npt.NDArray[np.uint32], *, remarks: tuple[str, ...] = ()
) -> Mask:
    """Return flags of a whole detector as a mask."""
    dq.flags.writeable = False
    return Mask(path=path, dq=dq, window=Window.full(*dq.shape), placed=True, remarks=remarks)


@dataclass(frozen=True, slots=True)
class Columns:
    """A table as a file holds it, column by column, names in lower case."""

    path: Path
    values: dict[str, npt.NDArray[Any]]
    rows: Sequence[int]
    row_name: str
    base: int | None = None
    to_state_base: str = ""  # what a file of this format can have to state its base, for hints

    def where(self, number: int) -> str:
        """Name a row, for messages."""
        return f"{self.row_name} {self.rows[number]}"

    def only(self, chosen: npt.NDArray[np.bool_]) -> "Columns":
        """Return the table with some of its rows."""
        values = {name: column[chosen] for name, column in self.values.items()}
        return replace(self, values=values, rows=np.asarray(self.rows)[chosen].tolist())

    def cells(self, name: str) -> list[Any]:
        """Return the values of a column, one a row."""
        column = self.values[name]
        if column.size != len(column):
            raise MaskFormatError(
                f"has {column.shape[1:]} values a row in the column {name}; expected one",
                where=self.path,
            )
        return list(column.reshape(-1).tolist())

    def whole_numbers(self, name: str) -> Numbers:
        """Return a column as whole numbers, also those that are written as 12.0."""
        return self._whole(name, self.cells(name), "a whole number")

    def ranges(self, name: str, first: int, last: int, *, is_open: bool) -> tuple[Numbers, Numbers]:
        """Return starts and lengths of ranges ``a:b``; open ones reach `first` or `last`."""
        starts, ends = [], []
        for cell in self.cells(name):
            start, colon, end = (part.strip() for part in str(cell).partition(":"))
            starts.append(start or (first if colon and is_open else ""))
            ends.append((end or (last if is_open else "")) if colon else start)
        expected = "a whole number, or a range a:b of whole numbers a ≤ b with both ends included"
        low = self._whole(name, starts, expected)
        high = self._whole(name, ends, expected)
        self.check(name, high >= low, expected)
        return low, high - low + 1

    def check(self, name: str, good: npt.NDArray[np.bool_], expected: str) -> None:
        """Refuse a column with values that are not good; the error names the first."""
        if not good.all():
            row = int(np.argmin(good))
            raise MaskFormatError(
                f"{self.where(row)}: {name} is {self.cells(name)[row]!r}; expected {expected}",
                where=self.path,
            )

    def _whole(self, name: str, values: Sequence[object], expected: str) -> Numbers:
        numbers = numbers_of(values)
        with np.errstate(invalid="ignore"):
            good = (abs(numbers) < 1 << 53) & (numbers == np.floor(numbers))
        self.check(name, good, expected)
        return numbers.astype(np.int64)


def numbers_of(values: Sequence[object]) -> Floats:
    """Return values as numbers; NaN for those that are none."""
    return np.array([_number(value) for value in values], np.float64)


def _number(value: object) -> float:
    try:
        # Python takes an underscore for a separator of thousands.
        return math.nan if isinstance(value, bool) or "_" in str(value) else float(str(value))
    except ValueError:
        return math.nan
