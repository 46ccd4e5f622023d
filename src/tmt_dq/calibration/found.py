"""BadPixels: a mask made from darks and flats, with what each finder found and in what."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tmt_dq.calibration.measure import Cost
from tmt_dq.masks.new_mask import Made
from tmt_dq.tables import as_astropy

if TYPE_CHECKING:
    from astropy import table as astropy_table


@dataclass(frozen=True, slots=True)
class Input:
    """A calibration exposure that a mask was made of.

    Attributes
    ----------
    kind : str
        "dark", "flat" or "long flat".
    name : str
        The file or URL.
    date : str
        DATE-OBS.
    shape : tuple of int
        Integrations, reads, rows, columns.
    sha256 : str
        Digest of the file, "" for a dry run.
    """

    kind: str
    name: str
    date: str
    shape: tuple[int, int, int, int]
    sha256: str = ""

    def describe(self) -> str:
        """Describe it in one line, for HISTORY."""
        return f"{self.kind} {Path(self.name).name}; sha256 {self.sha256}; DATE-OBS {self.date}"


@dataclass(frozen=True, slots=True)
class FinderResult:
    """What one finder found.

    Attributes
    ----------
    finder, flag : str
        Its name, and the flag that its pixels got.
    pixels : int
        How many.
    fraction : float
        Their share of the pixels of the exposures.
    seconds : float
        Time that it took.
    skipped : str
        Why it did not run; "" where it did.
    detail : str
        What else there is to report, as of intermittent pixels: in which share of the darks they
        are bad.
    """

    finder: str
    flag: str
    pixels: int
    fraction: float
    seconds: float
    skipped: str = ""
    detail: str = ""

    def describe(self) -> str:
        """Describe it in one line, for HISTORY."""
        if self.skipped:
            return f"finder {self.finder} did not run: {self.skipped}"
        detail = f"; {self.detail}" if self.detail else ""
        return f"finder {self.finder}: {self.flag} {self.pixels:,} pixels{detail}"


@dataclass(frozen=True, slots=True)
class BadPixels:
    """A mask that was made from darks and flats.

    Attributes
    ----------
    made : Made or None
        The mask, as of `tmt_dq.make_mask`; None for a dry run.
    recipe : str
        Name of the recipe.
    inputs : tuple of Input
        The exposures.
    finders : tuple of FinderResult
        What each finder found.
    remarks : tuple of str
        What was accepted on request though the recipe demands more.
    cost : Cost
        Reads of pixels, estimated memory and time.
    seconds : float
        Time that it took, 0 for a dry run.
    """

    made: Made | None
    recipe: str
    inputs: tuple[Input, ...]
    finders: tuple[FinderResult, ...] = ()
    remarks: tuple[str, ...] = ()
    cost: Cost | None = None
    seconds: float = 0.0

    @property
    def counts(self) -> Mapping[str, int]:
        """Pixels per flag of the mask; empty for a dry run."""
        return {} if self.made is None else self.made.counts

    def to_table(self) -> "astropy_table.Table":
        """Return the finders as a table of astropy."""
        return as_astropy(self.finders, FinderResult)
