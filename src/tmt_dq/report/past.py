"""One pixel in all masks of its detector that a cache has."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from tmt_dq.errors import TmtDqError
from tmt_dq.instruments import Detector, Instrument
from tmt_dq.masks.mask import read_mask
from tmt_dq.references.versions import Listing, list_versions
from tmt_dq.report.sources import brief, flags_at

__all__ = ["PastFlags", "read_past", "since"]


@dataclass(frozen=True, slots=True)
class PastFlags:
    """Flags of the pixel in one mask.

    Attributes
    ----------
    name : str
        The mask.
    useafter : str
        From when it applies; "" where that is not known.
    in_context : bool
        Whether the context's rules name it.
    flags : tuple of str or None
        Its flags of the pixel; None where they cannot be read.
    gained, lost : tuple of str
        Differences from the mask before that could be read.
    problem : str or None
        Why it cannot be read.
    """

    name: str
    useafter: str
    in_context: bool
    flags: tuple[str, ...] | None
    gained: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    problem: str | None = None


def read_past(
    instrument: Instrument,
    detector: Detector,
    y: int,
    x: int,
    *,
    crds_path: str | os.PathLike[str] | None,
    context: str | None,
) -> tuple[Listing, tuple[PastFlags, ...]]:
    """Return the flags of a pixel (0-based) in each mask of a detector, and where they are."""
    listing = list_versions(instrument, detector, crds_path=crds_path, context=context)
    past: list[PastFlags] = []
    before: tuple[str, ...] = ()
    for version in listing.versions:
        flags, problem = None, None if version.problem is None else brief(version.problem)
        if version.path is not None:
            try:
                flags = flags_at(read_mask(version.path), y, x)
                problem = "it does not cover the pixel" if flags is None else None
            except TmtDqError as error:
                problem = brief(error)
        now = before if flags is None else flags
        past.append(
            PastFlags(
                name=version.name,
                useafter=version.useafter,
                in_context=version.in_context,
                flags=flags,
                gained=tuple(name for name in now if name not in before),
                lost=tuple(name for name in before if name not in now),
                problem=problem,
            )
        )
        before = now
    return listing, tuple(past)


def since(past: Sequence[PastFlags], flag: str, version: str | None) -> PastFlags | None:
    """Return the first mask of the unbroken series with a flag that ends at `version`.

    The series ends at the last mask if `version` is not among them; None if its end does not have
    the flag. Masks that cannot be read do not break it.
    """
    names = [entry.name for entry in past]
    end = names.index(version) + 1 if version in names else len(past)
    first = None
    for entry in reversed(past[:end]):
        if entry.flags is None:
            continue
        if flag not in entry.flags:
            break
        first = entry
    return first
