"""New masks: what each file contributes, and the last steps of all verbs that make masks."""

import datetime as dt
import logging
import os
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tmt_dq import __version__
from tmt_dq.core.flags import PIXEL
from tmt_dq.core.geometry import Window
from tmt_dq.core.merging import hold_to_policy
from tmt_dq.errors import ConfigError, MaskFormatError, OutputError, SelectionError
from tmt_dq.files.atomic import atomic_output, check_output, output_errors, try_output
from tmt_dq.files.identity import sha256_of
from tmt_dq.fits.cards import Value, ascii_text
from tmt_dq.fits.headers import image_header, primary_header
from tmt_dq.fits.tables import convention_unit
from tmt_dq.fits.writer import UnitWriter
from tmt_dq.instruments import Detector, Instrument, available, load, policy_flags
from tmt_dq.masks.formats import Target
from tmt_dq.masks.grow import grow_flags, parse_growth
from tmt_dq.masks.mask import Mask
from tmt_dq.masks.reading import Reading
from tmt_dq.masks.useafter import useafter_text

if TYPE_CHECKING:
    from astropy import table as astropy_table

Flags = npt.NDArray[np.uint32]

_log = logging.getLogger(__name__)
_ROWS = 256
_CARD = 72
"""Characters of text in a HISTORY card."""


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
        counts = ", ".join(f"{name} {count:,}" for name, count in self.counts.items())
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

    def check(self, inputs: Iterable[Path]) -> None:
        """Make sure, before any work, that the output can be written."""
        self.given()
        if self.grow is not None:
            parse_growth(self.grow)
        if self.output is None:
            if self.dry_run:
                return
            raise ConfigError(
                "there is no output", where="output", hint="Name one, or use dry_run=True."
            )
        path = Path(self.output)
        if path.suffix.lower() not in {".fits", ".fit", ".fts"}:
            raise OutputError("is not named .fits; a mask is a FITS file", where=path)
        if not self.dry_run:
            check_output(path, overwrite=self.overwrite, inputs=inputs)
            try_output(path)

    def given(self) -> dict[str, str | None]:
        """Return the keywords that only the keeper of a mask can give, and a delivery demands."""
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
    shape : tuple of int
        Rows and columns of the mask: those of the detector, or of a subarray.
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
    shape: tuple[int, int] = (0, 0)

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
        """Number of pixels of the mask."""
        return self.shape[0] * self.shape[1]


def find_detector(instrument: str, detector: str) -> tuple[Instrument, Detector]:
    """Return the descriptions of an instrument and of one of its detectors."""
    try:
        described = load(str(instrument))
        return described, described.detector(detector)
    except (SelectionError, ConfigError) as error:
        raise ConfigError(
            error.what, where="detector", hint="Name an instrument and one of its detectors."
        ) from error


class NewMask:
    """A mask in the making: its flags, and what they come from; `window` is that of a subarray."""

    def __init__(
        self,
        verb: str,
        instrument: str,
        detector: str,
        options: MaskOptions,
        *,
        window: Window | None = None,
    ) -> None:
        self.instrument, self.detector = find_detector(instrument, detector)
        self.target = Target.of(self.instrument, self.detector, window)
        self.window = window or Window.full(*self.detector.shape)
        self.dq = np.zeros(self.window.shape, np.uint32)
        self.orientation: tuple[int | None, int | None] = (None, None)
        self.history: list[str] = []
        self._options = options
        self._policy = policy_flags(options.do_not_use, self.instrument)
        self._prefix = f"tmt-dq {__version__} {verb}: "
        self._sources: list[Contribution] = []

    def note(self, text: str) -> None:
        """Add a line to HISTORY."""
        self.history.append(self._prefix + text)

    def record(self, role: str, mask: Mask, reading: Reading, *more: str) -> None:
        """Record what a file gives, after checking that it is not of another of our detectors."""
        left_out = mask.left_out.items()
        remarks = [*mask.remarks, *(f"bit {bit} of {n:,} pixels left out" for bit, n in left_out)]
        for key, found, known, expected in (
            ("INSTRUME", mask.instrument, set(available()), {self.instrument.name.upper()}),
            ("DETECTOR", mask.detector, self.target.others, self.target.names),
        ):
            if found is not None and found.upper() not in expected:
                if found.upper() in known:
                    raise MaskFormatError(
                        f"has {key} {found}; the mask is for {self.instrument.name} "
                        f"{self.detector.name}",
                        where=mask.path,
                        hint="Name the detector that the file is of.",
                    )
                remarks.insert(0, f"it says {key} {found}")
        counts, digest = _flag_counts(mask.dq), sha256_of(mask.path)
        source = Contribution(
            role, mask.path, digest, reading.describe(), counts, (*remarks, *more)
        )
        self._sources.append(source)
        self.note(source.describe())

    def add(self, mask: Mask, reading: Reading) -> None:
        """Add the flags that a file gives the pixels of this mask, and record it."""
        flags = mask.dq[self.window.slices(mask.window)]
        count = int(np.count_nonzero(flags & ~self.dq))
        self.dq = self.dq | flags
        self.record("add", mask, reading, f"{count:,} pixels got a flag they did not have")

    def write(self, before: Flags | None = None) -> Made:
        """Grow flags, set DO_NOT_USE, write the mask; compare its flags with those `before`."""
        dq, options = self.dq, self._options
        if options.grow is not None:
            shape, flags = parse_growth(options.grow)
            dq = grow_flags(dq, flags, shape=shape)
            count = np.count_nonzero(dq != self.dq)
            self.note(f"{flags} grown ({shape}): {count:,} pixels got a flag")
        dq, added = hold_to_policy(dq, self._policy)
        policy = f"set where {', '.join(self._policy)}: {added:,} pixels got it"
        self.note(f"DO_NOT_USE {policy if self._policy else 'kept as it was'}")
        path = None if options.output is None else Path(options.output)
        if path is not None and not options.dry_run:
            self._write_file(path, dq)
            _log.info("%s: mask of %s %s written", path, self.instrument.name, self.detector.name)
        for line in self.history:
            _log.debug("%s: %s", path or "no file", line)
        return Made(
            output=path,
            written=not options.dry_run,
            instrument=self.instrument.name,
            detector=self.detector.name,
            counts=PIXEL.count(dq),
            sources=tuple(self._sources),
            policy=self._policy,
            do_not_use_added=added,
            missing=tuple(key for key, value in options.given().items() if value is None),
            gained={} if before is None else _flag_counts(dq & ~before),
            lost={} if before is None else _flag_counts(before & ~dq),
            history=tuple(self.history),
            shape=self.window.shape,
        )

    def _write_file(self, path: Path, dq: Flags) -> None:
        """Write a MASK reference file; it appears whole, or not at all."""
        header = primary_header()
        for keyword, value, comment in self._cards(path):
            if value is not None:
                header[keyword] = (ascii_text(value) if isinstance(value, str) else value, comment)
        for line in self.history:
            # Cut between words: what is cut anywhere, no search finds again.
            for piece in textwrap.wrap(ascii_text(line), _CARD, break_on_hyphens=False) or [""]:
                header.add_history(piece)
        with atomic_output(path, overwrite=self._options.overwrite) as fd, output_errors(path):
            writer = UnitWriter(fd)
            writer.write(header)
            image = image_header("DQ", 32, dq.shape)
            # Copies of a few rows at a time: the writer uses them up.
            pieces = (dq[first : first + _ROWS].copy() for first in range(0, len(dq), _ROWS))
            writer.write_flags(writer.reserve_image(image, dq.nbytes), image, pieces)
            writer.write(*convention_unit())
            writer.finish()

    def _cards(self, path: Path) -> list[tuple[str, Value, str]]:
        """Return keywords, values (None for those that nobody gives) and comments."""
        now = dt.datetime.now(dt.UTC).replace(tzinfo=None).isoformat(timespec="milliseconds")
        given = self._options.given()
        fast, slow = self.orientation
        full = self.window.shape == self.detector.shape
        subarray = "GENERIC" if full else "CUSTOM"
        return [
            ("DATE", now, "UTC date this file was made"),
            ("FILENAME", path.name, "Name of the file"),
            ("DATAMODL", "TMTMaskModel", "Type of data model"),
            ("TELESCOP", self.instrument.telescope, "Telescope"),
            ("INSTRUME", self.instrument.name, "Instrument"),
            ("DETECTOR", self.detector.name, "Detector"),
            ("REFTYPE", self.instrument.reftype.upper(), "Type of reference file"),
            ("USEAFTER", given["USEAFTER"], "First observation date this file is for"),
            ("PEDIGREE", given["PEDIGREE"], "Where the data come from"),
            ("AUTHOR", given["AUTHOR"], "Author of the reference file"),
            ("DESCRIP", given["DESCRIP"], "Description of the reference file"),
            ("FASTAXIS", fast, "Direction of the fast readout axis"),
            ("SLOWAXIS", slow, "Direction of the slow readout axis"),
            ("DNUFLAGS", ",".join(self._policy) or "KEEP", ""),
            ("SUBARRAY", subarray, "Subarrays it serves"),
            ("SUBSTRT1", self.window.xstart, "1-based first column on the detector"),
            ("SUBSTRT2", self.window.ystart, "1-based first row on the detector"),
            ("SUBSIZE1", self.window.nx, "Number of columns"),
            ("SUBSIZE2", self.window.ny, "Number of rows"),
            ("CAL_VER", f"tmt-dq {__version__}", "Software that made the file"),
        ]


def _flag_counts(dq: Flags) -> dict[str, int]:
    counts = PIXEL.count(dq)
    del counts["GOOD"]
    return counts
