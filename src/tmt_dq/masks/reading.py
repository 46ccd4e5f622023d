"""Reading: how a file of bad pixels is to be understood where it does not state that itself."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from tmt_dq.core.flags import PIXEL
from tmt_dq.core.options import row
from tmt_dq.errors import ConfigError

if TYPE_CHECKING:
    # The command line makes its options from `Reading`, and its help must not wait for NumPy.
    from tmt_dq.core.dq_def import Unknown


class BadValue:
    """The value of bad pixels in an image: a whole number, or "nonzero"."""

    @staticmethod
    def parse(text: str) -> int | str:
        """Return the value that a text stands for."""
        word = text.strip().lower()
        if not re.fullmatch("[-+]?[0-9]+|nonzero", word):
            raise ConfigError(f"{text!r} is not a value; expected a whole number or nonzero")
        return word if word == "nonzero" else int(word)


class BitMeanings:
    """What the bits of a number mean: "convention", or names of flags by value."""

    @staticmethod
    def parse(text: str) -> str | dict[int, str]:
        """Return the meanings in ``convention``, ``16=HOT,4=DEAD`` or ``16:HOT;4:DEAD``."""
        if text.strip().lower() == "convention":
            return "convention"
        meanings: dict[int, str] = {}
        # Parameter files take "=" and "," for their own, so that both forms are needed.
        for item in re.split("[,;]", text):
            found = re.fullmatch(r"\s*([0-9]+)\s*[=:](.*)", item)
            if found is None or int(found[1]) in meanings:
                raise ConfigError(
                    f"{item!r} does not give the meaning of one more bit; expected 'convention', "
                    "16=HOT,4=DEAD or 16:HOT;4:DEAD",
                    where="values",
                )
            meanings[int(found[1])] = found[2].strip()
        return meanings


def _row(text: str, metavar: str, **details: Any) -> Any:
    """Return a field of `Reading`: None where it is not given, and its row of the option table."""
    return row(None, text, metavar=metavar, group="Your own flags", **details)


@dataclass(frozen=True, slots=True)
class Reading:
    """How a file of bad pixels is to be understood, where the file itself does not state it.

    No field has a default that would be a guess: what a format needs and nobody gives is an error
    (`ConfigError`) that names the field.

    Parameters
    ----------
    flag : str, optional
        Flags that all bad pixels of the file get, names of `tmt_dq.dqflags.pixel` separated by
        commas or bars.
    bad : int or "nonzero", optional
        For an image: the value that bad pixels have.
    good : int, optional
        For an image: the value that good pixels have; all others are bad.
    values : "convention" or mapping of int to str, optional
        For an image or table of numbers: what they mean. "convention" if they are values of
        `tmt_dq.dqflags.pixel`; otherwise bits of the file to names of flags.
    base : {0, 1}, optional
        For a list: the number that the first pixel of a row or column has.
    at : tuple of int, optional
        1-based detector position (x, y) of the file's first pixel. Without it an image must be as
        large as the detector or have the position in its header; positions in lists are detector
        positions.
    columns : sequence of str, optional
        For a list without a line of column names: their names, in order.
    extension : str or int, optional
        For FITS: name or 0-based number of the extension, where several could be meant.
    ignore_columns : sequence of str, optional
        For a list: columns that have nothing to do with the flags, by name. A column that is
        neither understood nor named here is an error.
    unknown : {"error", "drop"}
        What to do about DQ_DEF names and bits without a meaning.

    Raises
    ------
    ConfigError
        Raised if an option has an impossible value, or contradicts another one.
    UnknownFlagError
        Raised if a flag is not in the convention.

    Examples
    --------
    >>> Reading(flag="HOT", base=1).describe()
    'flag=HOT base=1'
    """

    flag: str | None = _row("Flags that the bad pixels of the file get.", "NAME[,NAME]", kind=str)
    bad: int | Literal["nonzero"] | None = _row(
        "Image: value of bad pixels.", "V|nonzero", kind=BadValue
    )
    good: int | None = _row("Image: value of good pixels; others are bad.", "V", kind=int)
    values: Literal["convention"] | Mapping[int, str] | None = _row(
        "Numbers: what each bit means; convention for flag values as they are.",
        "convention|N=FLAG,...",
        kind=BitMeanings,
    )
    base: int | None = _row(
        "List: whether positions count from 0 or 1.", "0|1", kind=int, minimum=0, maximum=1
    )
    at: tuple[int, int] | None = _row(
        "1-based detector position of the first pixel of a smaller image or list.",
        "X,Y",
        kind=int,
        many=True,
        size=2,
    )
    columns: Sequence[str] | None = _row(
        "List without a line of column names: their names.", "x,y[,flag]", kind=str, many=True
    )
    extension: str | int | None = _row(
        "FITS: name or number of the extension, where several could be meant.", "NAME", kind=str
    )
    ignore_columns: Sequence[str] | None = _row(
        "List: columns that have nothing to do with the flags.", "NAME[,NAME]", kind=str, many=True
    )
    unknown: "Unknown" = "error"

    def __post_init__(self) -> None:
        bad, good = self.bad, self.good
        _ = self.meanings  # which raises what is wrong with a mapping
        contradict = bad is not None and (
            bad == good or (bad == "nonzero" and good not in (None, 0))
        )
        wrong_word = isinstance(self.values, str) and self.values != "convention"
        too_many = self.values is not None and (self.flag is not None or self.has_polarity)
        for is_wrong, where, finding in (
            (self.flag is not None and not self.flag_value, "flag", f"{self.flag!r} is no flag"),
            (self.base not in (None, 0, 1), "base", f"base is {self.base!r}; expected 0 or 1"),
            (
                isinstance(bad, str) and bad != "nonzero",
                "bad",
                f"bad is {bad!r}; expected a number or 'nonzero'",
            ),
            (min(self.at or (1, 1)) < 1, "at", f"at is {self.at}; positions count from 1"),
            (contradict, "bad", f"bad {bad!r} and good {good} contradict each other"),
            (
                wrong_word,
                "values",
                f"values is {self.values!r}; expected 'convention' or names for numbers",
            ),
            (too_many, "values", "values contradict flag, bad and good; give one or the other"),
        ):
            if is_wrong:
                raise ConfigError(finding, where=where)

    @property
    def has_polarity(self) -> bool:
        """Whether it is given which value of an image is bad."""
        return self.bad is not None or self.good is not None

    @property
    def shift(self) -> tuple[int, int]:
        """How far `at` moves positions of the file, pixels along x and y."""
        return (0, 0) if self.at is None else (self.at[0] - 1, self.at[1] - 1)

    @property
    def flag_value(self) -> int:
        """`flag` as a number, 0 where it is not given."""
        return PIXEL.encode(self.flag or ())

    @property
    def meanings(self) -> dict[int, int] | None:
        """`values` as flags of the convention by bit; None where it is not given."""
        if self.values is None or isinstance(self.values, str):
            return {flag.value: flag.value for flag in PIXEL.flags} if self.values else None
        meanings = {number: PIXEL.encode(names) for number, names in self.values.items()}
        for number, value in meanings.items():
            if not value or not 0 < number < 1 << 32 or number & (number - 1):
                raise ConfigError(
                    f"{number}={self.values[number]} is not one bit of 32 (1, 2, 4, …, 2^31) and a "
                    "flag",
                    where="values",
                    hint="For a single value that means bad, give bad and flag.",
                )
        return meanings

    def describe(self) -> str:
        """Return what is given as one line, for records: ``flag=HOT base=0``."""
        given = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        if self.unknown == "error":
            del given["unknown"]
        return " ".join(f"{k}={_as_text(v)}" for k, v in given.items() if v is not None)


def _as_text(value: object) -> str:
    if isinstance(value, Mapping):
        return ",".join(f"{number}={name}" for number, name in value.items())
    return ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
