"""New masks: what each file contributes, and the last steps of all verbs that make masks."""

import datetime as dt
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tmt_dq import __version__
from tmt_dq.core.flags import PIXEL
from tmt_dq.core.merging import hold_to_policy
from tmt_dq.errors import ConfigError, MaskFormatError, OutputError, SelectionError
from tmt_dq.files.atomic import check_output
from tmt_dq.files.identity import sha256_of
from tmt_dq.instruments import Detector, Instrument, available, load, policy_flags
from tmt_dq.masks.formats import Target
from tmt_dq.masks.grow import grow_flags, parse_growth
from tmt_dq.masks.mask import Mask
from tmt_dq.masks.mask_writer import write_mask
from tmt_dq.masks.reading import Reading
from tmt_dq.masks.useafter import useafter_text

if TYPE_CHECKING:
    from astropy import table as astropy_table

__all__ = ["Contribution", "Made", "MaskOptions", "contribution_of", "find_detector", "finish"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one file gave to a mask."""

    role: str  # "import", "mask", "add" or "clear"
    path: Path
    sha256: str
    said: str  # options that it was read with: "flag=HOT base=0"
    counts: Mapping[str, int]  # pixels per flag in it
    remarks: tuple[str, ...] = ()

    def describe(self) -> str:
        """Describe it in one line, for HISTORY."""
        counts = ", ".join(f"{name} {count}" for name, count in self.counts.items())
        parts = [f"{self.role} {self.path.name}", f"sha256 {self.sha256}", self.said]
        parts += [f"pixels: {counts or 'none flagged'}", *self.remarks]
        return "; ".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class MaskOptions:
    """Options of all verbs that make masks: keywords of the new mask, and how it is written."""

    output: str | os.PathLike[str] | None
    keywords: tuple[str | dt.date | None, str | None, str | None, str | None]
    do_not_use: str | Iterable[str] = "instrument"
    grow: str | None = None
    overwrite: bool = False
    dry_run: bool = False

    @property
    def path(self) -> Path | None:
        """The mask file to write."""
        return None if self.output is None else Path(self.output)

    def check(self, inputs: Iterable[Path]) -> None:
        """Make sure, before any work, that the output can be written."""
        self.cards()
        if self.grow is not None:
            parse_growth(self.grow)
        if self.path is None and not self.dry_run:
            raise ConfigError(
                "there is no output", where="output", hint="Name one, or use dry_run=True."
            )
        if self.path is not None and self.path.suffix.lower() not in {".fits", ".fit", ".fts"}:
            raise OutputError("is not named .fits; a mask is a FITS file", where=self.path)
        if self.path is not None and not self.dry_run:
            check_output(self.path, overwrite=self.overwrite, inputs=inputs)

    def cards(self) -> dict[str, str | None]:
        """Return what only the keeper of the mask can give, and a delivery demands."""
        useafter, pedigree, author, description = self.keywords
        return {
            "USEAFTER": None if useafter is None else useafter_text(useafter),
            # CRDS' words are in upper case: GROUND, INFLIGHT 2026-04-01 2026-04-30.
            "PEDIGREE": None if pedigree is None else pedigree.strip().upper(),
            "AUTHOR": author,
            "DESCRIP": description,
        }


@dataclass(frozen=True, slots=True)
class Made:
    """A mask that was made.

    Attributes
    ----------
    output : Path or None
        The file.
    written : bool
        Whether it was written; False for a dry run.
    instrument, detector : str
        INSTRUME and DETECTOR.
    counts : mapping of str to int
        Pixels per flag; "GOOD" is the number without any flag.
    sources : tuple of Contribution
        What it was made from.
    policy : tuple of str
        Flags that set DO_NOT_USE.
    do_not_use_added : int
        Pixels that got DO_NOT_USE by the policy.
    missing : tuple of str
        Keywords that a delivery demands and that are not given.
    gained, lost : mapping of str to int
        Pixels per flag that the mask has more, and less, than the one it was made from.
    history : tuple of str
        HISTORY of the file.
    """

    output: Path | None
    written: bool
    instrument: str
    detector: str
    counts: Mapping[str, int]
    sources: tuple[Contribution, ...]
    policy: tuple[str, ...]
    do_not_use_added: int
    missing: tuple[str, ...]
    gained: Mapping[str, int] = field(default_factory=dict)
    lost: Mapping[str, int] = field(default_factory=dict)
    history: tuple[str, ...] = ()

    def to_table(self) -> "astropy_table.Table":
        """Return the pixels per flag as a table of astropy: flag, pixels, gained, lost."""
        from tmt_dq.tables import as_astropy

        rows = [
            (name, *(each.get(name, 0) for each in (self.counts, self.gained, self.lost)))
            for name in dict.fromkeys((*self.counts, *self.lost))
        ]
        return as_astropy(rows, ("flag", "pixels", "gained", "lost"))

    def _repr_html_(self) -> str:
        """Show what was made in a notebook."""
        from tmt_dq.tables import as_html, flag_table

        lines = [
            f"{self.output or 'no file'}{'' if self.written else ' (dry run: not written)'}",
            f"mask of {self.instrument} {self.detector}",
            *(source.describe() for source in self.sources),
        ]
        if self.missing:
            lines.append(f"needed to deliver it: {', '.join(self.missing)}")
        return as_html(lines, [flag_table(self.counts, self.size)])

    @property
    def size(self) -> int:
        """Number of pixels of the detector."""
        ny, nx = load(self.instrument).detector(self.detector).shape
        return ny * nx


def find_detector(instrument: str, detector: str) -> tuple[Instrument, Detector]:
    """Return the descriptions of an instrument and of one of its detectors."""
    try:
        described = load(str(instrument))
        return described, described.detector(detector)
    except (SelectionError, ConfigError) as error:
        raise ConfigError(
            error.what, where="detector", hint="Name the instrument and detector of the mask."
        ) from error


def contribution_of(
    role: str, mask: Mask, reading: Reading, instrument: Instrument, detector: Detector
) -> Contribution:
    """Return what a file gives, after checking that it is not of another of our detectors."""
    remarks = []
    target = Target.of(instrument, detector)
    for key, found, known, expected in (
        ("INSTRUME", mask.instrument, set(available()), {instrument.name.upper()}),
        ("DETECTOR", mask.detector, target.others, target.names),
    ):
        if found is None or found.upper() in expected:
            continue
        if found.upper() in known:
            raise MaskFormatError(
                f"has {key} {found}; the mask is for {instrument.name} {detector.name}",
                where=mask.path,
                hint="Name the detector that the file is of.",
            )
        remarks.append(f"it says {key} {found}")
    remarks += mask.remarks
    remarks += [f"bit {bit} of {n} pixels left out" for bit, n in mask.left_out.items()]
    counts = PIXEL.count(mask.dq)
    del counts["GOOD"]
    return Contribution(
        role=role,
        path=mask.path,
        sha256=sha256_of(mask.path),
        said=reading.describe(),
        counts=counts,
        remarks=tuple(remarks),
    )


def finish(  # noqa: PLR0913 - what all verbs that make masks have in common
    dq: npt.NDArray[np.uint32],
    instrument: Instrument,
    detector: Detector,
    options: MaskOptions,
    *,
    verb: str,
    contributions: Sequence[Contribution] = (),
    lines: Sequence[str] = (),
    orientation: tuple[int | None, int | None] = (None, None),
    before: npt.NDArray[np.uint32] | None = None,
) -> Made:
    """Grow flags, set DO_NOT_USE by the policy, write the mask; return what was made."""
    policy = policy_flags(options.do_not_use, instrument)
    prefix = f"tmt-dq {__version__} {verb}: "
    history = [*lines, *(prefix + contribution.describe() for contribution in contributions)]
    if options.grow is not None:
        shape, flags = parse_growth(options.grow)
        grown = grow_flags(dq, flags, shape=shape)
        count = int(np.count_nonzero(grown != dq))
        history.append(f"{prefix}{flags} grown ({shape}): {count} pixels got a flag")
        dq = grown
    dq, added = hold_to_policy(dq, policy)
    history.append(
        f"{prefix}DO_NOT_USE set where {', '.join(policy)}: {added} pixels got it"
        if policy
        else f"{prefix}DO_NOT_USE kept as it was"
    )
    cards, path = options.cards(), options.path
    if path is not None and not options.dry_run:
        write_mask(
            path,
            dq,
            {
                "TELESCOP": instrument.telescope,
                "INSTRUME": instrument.name,
                "DETECTOR": detector.name,
                "REFTYPE": instrument.reftype.upper(),
                **cards,
                "FASTAXIS": orientation[0],
                "SLOWAXIS": orientation[1],
                "DNUFLAGS": ",".join(policy) or "KEEP",
            },
            history,
            overwrite=options.overwrite,
        )
        _log.info("%s: mask of %s %s written", path, instrument.name, detector.name)
    for line in history:
        _log.debug("%s: %s", path, line)
    return Made(
        output=path,
        written=not options.dry_run,
        instrument=instrument.name,
        detector=detector.name,
        counts=PIXEL.count(dq),
        sources=tuple(contributions),
        policy=policy,
        do_not_use_added=added,
        missing=tuple(key for key, value in cards.items() if value is None),
        gained={} if before is None else _changes(dq, before),
        lost={} if before is None else _changes(before, dq),
        history=tuple(history),
    )


def _changes(dq: npt.NDArray[np.uint32], other: npt.NDArray[np.uint32]) -> dict[str, int]:
    """Count the flags that are in `dq` and not in `other`."""
    counts = PIXEL.count(dq & ~other)
    del counts["GOOD"]
    return counts
