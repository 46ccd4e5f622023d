"""The data-quality flags: the only place where a bit is written.

The convention is JWST's, as in ``stdatamodels.jwst.datamodels.dqflags`` and the JWST
documentation's table "Data Quality Flags": PIXELDQ holds 32 flags in a uint32, GROUPDQ eight in a
uint8.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tmt_dq.errors import UnknownFlagError

if TYPE_CHECKING:
    # Names and values need no arrays: descriptions of instruments and help texts load at once.
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag of a convention.

    Parameters
    ----------
    name : str
        Name in the convention.
    bit : int
        Number of the bit, 0 for the least significant one.
    description : str
        Meaning, as written into DQ_DEF tables.
    """

    name: str
    bit: int
    description: str

    @property
    def value(self) -> int:
        """The flag as a number, two to the power of `bit`."""
        return 1 << self.bit


class FlagTable(Mapping[str, int]):
    """A convention: a mapping of flag names to values, GOOD included as 0.

    Parameters
    ----------
    title : str
        What the flags are found in, for messages ("PIXELDQ").
    flags : iterable of Flag
        The flags.
    dtype : str
        Name of the unsigned integer type of the arrays that hold the flags.
    aliases : mapping of str to str, optional
        Names of older tables that are understood when reading, never written.

    Examples
    --------
    >>> from tmt_dq import dqflags
    >>> dqflags.pixel["DEAD"]
    1024
    >>> dqflags.pixel.decode(1025)
    ('DO_NOT_USE', 'DEAD')
    """

    def __init__(
        self,
        title: str,
        flags: Iterable[Flag],
        dtype: str,
        aliases: Mapping[str, str] | None = None,
    ) -> None:
        self.title = title
        self.flags = tuple(sorted(flags, key=lambda flag: flag.bit))
        self._dtype = dtype
        self.aliases = dict(aliases or {})
        self._values = {"GOOD": 0} | {flag.name: flag.value for flag in self.flags}

    def __getitem__(self, name: str) -> int:
        canonical = str(name).strip().upper()
        canonical = self.aliases.get(canonical, canonical)
        try:
            return self._values[canonical]
        except KeyError:
            near = difflib.get_close_matches(canonical, self._values, n=3)
            raise UnknownFlagError(
                f"{name!r} is not a flag of {self.title}",
                hint=f"Did you mean {' or '.join(near)}?"
                if near
                else f"The flags are {', '.join(self._values)}.",
            ) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, name: object) -> bool:
        canonical = str(name).strip().upper()
        return self.aliases.get(canonical, canonical) in self._values

    def __repr__(self) -> str:
        return f"<FlagTable {self.title}: {len(self.flags)} flags>"

    @property
    def dtype(self) -> "np.dtype[np.unsignedinteger]":
        """Type of the arrays that hold the flags."""
        import numpy as np

        return np.dtype(self._dtype)

    @property
    def mask(self) -> int:
        """All flags of the table in one value."""
        return sum(flag.value for flag in self.flags)

    def describe(self, name: str) -> str:
        """Return the meaning of the flag `name`."""
        meanings = {flag.value: flag.description for flag in self.flags}
        return meanings.get(self[name], "No flag is set")

    def encode(self, names: str | Iterable[str]) -> int:
        """Combine flag names into one value.

        Parameters
        ----------
        names : str or iterable of str
            Flag names; a string may hold several, separated by commas, bars or spaces.

        Returns
        -------
        int
            The bitwise OR of the flags.

        Raises
        ------
        UnknownFlagError
            Raised if a name is not in the table.
        """
        if isinstance(names, str):
            names = names.replace(",", " ").replace("|", " ").split()
        value = 0
        for name in names:
            value |= self[name]
        return value

    def decode(self, value: "int | np.integer") -> tuple[str, ...]:
        """Return the names of the flags in `value`, lowest bit first; other bits are an error."""
        number = int(value)
        unknown = number & ~self.mask
        if number < 0 or unknown:
            bits = ", ".join(str(bit) for bit in range(unknown.bit_length()) if unknown >> bit & 1)
            found = f"{number}" if number < 0 else f"{number} (bits {bits})"
            raise UnknownFlagError(
                f"{found} is not a combination of {self.title} flags",
                hint=f"Values lie between 0 and {self.mask} and use only the table's bits.",
            )
        return tuple(flag.name for flag in self.flags if number & flag.value)

    def count(self, array: "npt.ArrayLike") -> dict[str, int]:
        """Count the elements of an array that carry each flag.

        Parameters
        ----------
        array : array_like of unsigned integers
            Flag values, any shape.

        Returns
        -------
        dict of str to int
            GOOD (elements without any flag), then every flag that occurs, lowest bit first.

        Raises
        ------
        UnknownFlagError
            Raised if a value has a bit that the table does not define.
        """
        import numpy as np

        values = np.asarray(array).reshape(-1)
        # Most pixels are good: looking for each flag among the flagged ones only is what makes
        # this take milliseconds instead of a second on a full frame.
        flagged = values[values != 0]
        counts = {"GOOD": int(values.size - flagged.size)}
        present = int(np.bitwise_or.reduce(flagged)) if flagged.size else 0
        for name in self.decode(present):
            counts[name] = int(np.count_nonzero(flagged & flagged.dtype.type(self[name])))
        return counts


PIXEL = FlagTable(
    "PIXELDQ",
    [
        Flag("DO_NOT_USE", 0, "Bad pixel, do not use"),
        Flag("SATURATED", 1, "Pixel saturated during the exposure"),
        Flag("JUMP_DET", 2, "Jump detected during the exposure"),
        Flag("DROPOUT", 3, "Data lost in transmission"),
        Flag("OUTLIER", 4, "Flagged by outlier detection"),
        Flag("PERSISTENCE", 5, "High persistence"),
        Flag("AD_FLOOR", 6, "Below the floor of the A/D converter"),
        Flag("CHARGELOSS", 7, "Charge lost to neighbouring pixels"),
        Flag("RESERVED", 8, "Reserved for future use"),
        Flag("NON_SCIENCE", 9, "Pixel not on the science portion of the detector"),
        Flag("DEAD", 10, "Dead pixel"),
        Flag("HOT", 11, "Hot pixel"),
        Flag("WARM", 12, "Warm pixel"),
        Flag("LOW_QE", 13, "Low quantum efficiency"),
        Flag("RC", 14, "RC pixel"),
        Flag("TELEGRAPH", 15, "Telegraph pixel"),
        Flag("NONLINEAR", 16, "Pixel highly nonlinear"),
        Flag("BAD_REF_PIXEL", 17, "Reference pixel that cannot be used"),
        Flag("NO_FLAT_FIELD", 18, "Flat field cannot be measured"),
        Flag("NO_GAIN_VALUE", 19, "Gain cannot be measured"),
        Flag("NO_LIN_CORR", 20, "Linearity correction not available"),
        Flag("NO_SAT_CHECK", 21, "Saturation check not available"),
        Flag("UNRELIABLE_BIAS", 22, "Bias variance large"),
        Flag("UNRELIABLE_DARK", 23, "Dark variance large"),
        Flag("UNRELIABLE_SLOPE", 24, "Slope variance large"),
        Flag("UNRELIABLE_FLAT", 25, "Flat variance large"),
        Flag("OPEN", 26, "Open pixel, its counts move to its neighbours"),
        Flag("ADJ_OPEN", 27, "Next to an open pixel"),
        Flag("FLUX_ESTIMATED", 28, "Flux estimated, for example under a missing pixel"),
        Flag("MSA_FAILED_OPEN", 29, "Lit through a shutter that failed open"),
        Flag("OTHER_BAD_PIXEL", 30, "Bad in a way that no other flag describes"),
        Flag("REFERENCE_PIXEL", 31, "Reference pixel"),
    ],
    "uint32",
    aliases={"UNRELIABLE_ERROR": "RESERVED"},
)
"""Flags of PIXELDQ and of masks."""

_OF_SAMPLES = frozenset(
    ["DO_NOT_USE", "SATURATED", "JUMP_DET", "DROPOUT", "PERSISTENCE", "AD_FLOOR", "CHARGELOSS"]
)

GROUP = FlagTable("GROUPDQ", [flag for flag in PIXEL.flags if flag.name in _OF_SAMPLES], "uint8")
"""Flags of GROUPDQ."""
