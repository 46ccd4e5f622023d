"""How a file with someone's bad pixels is to be understood: what the file itself does not say."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from tmt_dq.core.dq_def import Unknown
from tmt_dq.core.flags import PIXEL, Translation
from tmt_dq.errors import ConfigError, UnknownFlagError

__all__ = ["Reading"]


@dataclass(frozen=True, slots=True)
class Reading:
    """What the user says about a file, where the file does not say it.

    Nothing here has a default that would be a guess: what a format needs and nobody said is asked
    for with `ConfigError`.

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
        large as the detector or say where it lies; positions in lists are detector positions.
    columns : tuple of str, optional
        For a list without a line of column names: their names, in order.
    extension : str or int, optional
        For FITS: name or 0-based number of the extension, where several could be meant.
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
    >>> reading = Reading(values={4: "HOT", 8: "DEAD"})
    >>> reading.translated(np.array([0, 4, 12], np.uint32), "list.txt")
    array([   0, 2048, 3072], dtype=uint32)
    """

    flag: str | None = None
    bad: int | Literal["nonzero"] | None = None
    good: int | None = None
    values: Literal["convention"] | Mapping[int, str] | None = None
    base: int | None = None
    at: tuple[int, int] | None = None
    columns: tuple[str, ...] | None = None
    extension: str | int | None = None
    unknown: Unknown = "error"

    def __post_init__(self) -> None:
        if self.flag is not None and not PIXEL.encode(self.flag):
            raise ConfigError(
                f"{self.flag!r} is no flag; expected at least one name",
                where="flag",
                hint="Good pixels need not be listed.",
            )
        if self.base not in (None, 0, 1):
            raise ConfigError(f"base is {self.base!r}; expected 0 or 1", where="base")
        if isinstance(self.bad, str) and self.bad != "nonzero":
            raise ConfigError(f"bad is {self.bad!r}; expected a number or 'nonzero'", where="bad")
        if self.at is not None and min(self.at) < 1:
            raise ConfigError(
                f"the place is x = {self.at[0]}, y = {self.at[1]}; places count from 1",
                where="at",
            )
        if self.bad == "nonzero" and self.good not in (None, 0):
            raise ConfigError(
                f"bad is 'nonzero' and good is {self.good}; they contradict each other",
                where="bad",
            )
        if self.bad is not None and self.bad == self.good:
            raise ConfigError(
                f"bad and good are both {self.bad}; they contradict each other", where="bad"
            )
        if self.values is not None and (self.flag or self.has_polarity):
            raise ConfigError(
                "values and flag, bad or good are all given; they contradict each other",
                where="values",
                hint="Say what each value means, or which one is bad and what flag it gets.",
            )
        if isinstance(self.values, str) and self.values != "convention":
            raise ConfigError(
                f"values is {self.values!r}; expected 'convention' or names for numbers",
                where="values",
            )
        _ = self.meanings  # which raises what is wrong with it

    @property
    def has_polarity(self) -> bool:
        """Whether it is said which value of an image is bad."""
        return self.bad is not None or self.good is not None

    @property
    def shift(self) -> tuple[int, int]:
        """How far `at` moves what the file says, pixels along x and y."""
        return (0, 0) if self.at is None else (self.at[0] - 1, self.at[1] - 1)

    @property
    def flag_value(self) -> np.uint32:
        """`flag` as a number."""
        assert self.flag is not None
        return np.uint32(PIXEL.encode(self.flag))

    @property
    def meanings(self) -> Translation | None:
        """`values` as a translation of bits; None where it is not given."""
        if self.values is None:
            return None
        if isinstance(self.values, str):
            return Translation(tuple((flag.value, flag.value) for flag in PIXEL.flags))
        pairs = []
        for number, names in self.values.items():
            if not 0 < number < 1 << 32 or number & (number - 1):
                raise ConfigError(
                    f"{number} is not one bit of 32 (1, 2, 4, …, 2^31)",
                    where="values",
                    hint="For a single value that means bad, say bad and flag.",
                )
            value = PIXEL.encode(names)
            if not value:
                raise ConfigError(f"{names!r} is no flag, for {number}", where="values")
            pairs.append((number, value))
        return Translation(tuple(pairs))

    def translated(self, numbers: npt.NDArray[np.uint32], where: object) -> npt.NDArray[np.uint32]:
        """Return numbers of a file as flags, by `values`.

        Parameters
        ----------
        numbers : ndarray of uint32
            What the file holds.
        where : object
            The file, named in errors.

        Returns
        -------
        ndarray of uint32
            The flags.

        Raises
        ------
        UnknownFlagError
            Raised if a number has a bit that `values` does not name.
        """
        meanings = self.meanings
        assert meanings is not None
        undeclared = meanings.undeclared(numbers)
        if undeclared:
            listing = ", ".join(f"{1 << bit} ({n} times)" for bit, n in undeclared.items())
            raise UnknownFlagError(
                f"has bits without a meaning: {listing}",
                where=where,
                hint="Say what each means: values={16: 'HOT', …} (--values 16=HOT,…).",
            )
        return meanings.apply(numbers)

    def refuse(self, where: object, why: str, *names: str) -> None:
        """Refuse options that mean nothing for a file: the user expects something of them.

        Parameters
        ----------
        where : object
            The file, named in errors.
        why : str
            Why they mean nothing.
        *names : str
            The options.

        Raises
        ------
        ConfigError
            Raised if one of the options `names` is given.
        """
        given = [name for name in names if getattr(self, name) is not None]
        if given:
            raise ConfigError(
                f"{', '.join(given)} cannot be used: {why}", where=where, hint="Leave it out."
            )

    def describe(self) -> str:
        """Say what was said, for records: ``flag=HOT base=0``."""
        said = [
            f"{name}={getattr(self, name)}"
            for name in ("flag", "bad", "good", "base", "extension")
            if getattr(self, name) is not None
        ]
        if isinstance(self.values, str):
            said.append(f"values={self.values}")
        elif self.values is not None:
            pairs = ",".join(f"{number}={name}" for number, name in self.values.items())
            said.append(f"values={pairs}")
        if self.at is not None:
            said.append(f"at={self.at[0]},{self.at[1]}")
        if self.columns is not None:
            said.append(f"columns={','.join(self.columns)}")
        if self.unknown != "error":
            said.append(f"unknown={self.unknown}")
        return " ".join(said)
