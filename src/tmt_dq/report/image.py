"""The flags to report on, from a mask, a ramp or an array, and where on the detector they are."""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tmt_dq.core.dq_def import Unknown, translate, translation
from tmt_dq.core.geometry import Window
from tmt_dq.core.values import as_flags
from tmt_dq.errors import (
    ConfigError,
    GeometryError,
    MaskFormatError,
    RampFormatError,
    SelectionError,
)
from tmt_dq.exposures.dq_sources import RecordedSource, read_sources
from tmt_dq.exposures.layouts import find_layout
from tmt_dq.exposures.ramp import Ramp, read_ramp
from tmt_dq.fits.encoding import read_rows
from tmt_dq.fits.file import FitsInput, open_input
from tmt_dq.fits.layout import Keywords
from tmt_dq.fits.tables import read_dq_def
from tmt_dq.instruments import Detector, Instrument, load
from tmt_dq.masks.mask import Mask, read_mask
from tmt_dq.report.report import Report
from tmt_dq.tables import HIDDEN, number

Flags = npt.NDArray[np.uint32]

Source = str | os.PathLike[str] | Mask | npt.ArrayLike
"""What reports are made of: a file, a mask that was read, or an array of flags."""


@dataclass(frozen=True, slots=True, eq=False)
class FlagImage:
    """Flags of a detector or a part of it, with the facts of their file."""

    label: str
    kind: str  # "mask", "ramp" (its PIXELDQ) or "array"
    dq: Flags
    window: Window
    path: Path | None = None
    instrument: str | None = None
    detector: str | None = None
    owner: Instrument | None = None  # what is known of the instrument
    description: Detector | None = None  # what is known of the detector
    orientation: tuple[int | None, int | None] = (None, None)  # FASTAXIS and SLOWAXIS
    header: Mapping[str, object] = field(default_factory=dict)
    sources: tuple[RecordedSource, ...] = ()
    ramp: Ramp | None = None
    notes: tuple[str, ...] = ()

    @property
    def facts(self) -> dict[str, Any]:
        """The fields of an `ImageReport`."""
        names = ("label", "kind", "path", "instrument", "detector")
        return {"image": self, **{name: getattr(self, name) for name in names}}

    @property
    def where(self) -> object:
        """What an error names: the file, or what is there instead."""
        return self.path or self.label

    @property
    def owner_name(self) -> str:
        """Instrument and detector, as far as they are known."""
        return " ".join(name for name in (self.instrument, self.detector) if name)

    @property
    def frame(self) -> Window:
        """All pixels of the detector; where it is not known, all up to the last one given."""
        if self.description is not None:
            return Window.full(*self.description.shape)
        return Window.full(self.window.y + self.window.ny, self.window.x + self.window.nx)

    @property
    def fast_along_y(self) -> bool:
        """Whether the detector is read out along its columns (FASTAXIS 2 or -2)."""
        return self.orientation[0] in (2, -2)


@dataclass(frozen=True)
class ImageReport(Report):
    """A report on one file, with the facts of its image."""

    label: str
    kind: str
    path: Path | str | None
    instrument: str | None
    detector: str | None
    image: FlagImage = field(repr=False, compare=False, metadata=HIDDEN)


def as_image(source: Source, *, unknown: Unknown = "error") -> FlagImage:
    """Return the flags of a file, DQ of a mask or PIXELDQ of a ramp, or of an array."""
    if isinstance(source, Mask):
        return _from_mask(source, {})
    if isinstance(source, str | os.PathLike):
        return _from_file(Path(source), unknown)
    dq = as_flags(source, where="array")
    if dq.ndim != 2 or min(dq.shape) < 1:
        raise GeometryError(
            f"the array has the shape {dq.shape}; expected (ny, nx), none of them zero",
            where="array",
            hint="Give one plane of flags.",
        )
    return FlagImage("array", "array", dq, Window.full(*dq.shape))


def _from_file(path: Path, unknown: Unknown) -> FlagImage:
    # A compressed ramp is expanded once and used from there; a plain file is only looked at.
    with open_input(path, scratch=Path(tempfile.gettempdir())) as file:
        header = Keywords(path, file.units[0])
        if file.named("PIXELDQ") or file.named("SCI") or find_layout(file.units)[0]:
            return _from_ramp(file, unknown, header)
        if not file.named("DQ"):
            listing = ", ".join(unit.label for unit in file.units)
            raise MaskFormatError(
                f"has neither DQ (a mask) nor PIXELDQ (a ramp that was initialized); found "
                f"{listing}",
                where=path,
                hint="Make a mask of it first: tmt-dq import, which asks what its values mean.",
            )
    return _from_mask(read_mask(path, unknown=unknown), header)


def _from_ramp(file: FitsInput, unknown: Unknown, header: Mapping[str, object]) -> FlagImage:
    exposure = read_ramp(file)
    if exposure.pixeldq is None:
        raise RampFormatError(
            "has no PIXELDQ: its data quality was not initialized",
            where=file.path,
            hint="Run tmt-dq apply, and look at its output.",
        )
    dq = read_rows(file, exposure.pixeldq, 0, exposure.pixeldq.shape[0])
    left_out: Mapping[int, int] = {}
    for unit in file.named("DQ_DEF")[:1]:
        meaning = translation(read_dq_def(file, unit), where=file.path, unknown=unknown)
        dq, left_out = translate(dq, meaning, where=file.path, unknown=unknown)
    ramp = exposure.ramp
    return FlagImage(
        label=file.path.name,
        kind="ramp",
        dq=dq,
        window=ramp.window,
        path=file.path,
        instrument=ramp.instrument.name,
        detector=ramp.detector.name,
        owner=ramp.instrument,
        description=ramp.detector,
        orientation=ramp.orientation,
        header=header,
        sources=read_sources(file) or (),
        ramp=ramp,
        notes=_left_out(left_out),
    )


def _from_mask(mask: Mask, header: Mapping[str, object]) -> FlagImage:
    known, description = _look_up(mask.instrument, mask.detector, header)
    image = FlagImage(
        label=mask.path.name,
        kind="mask",
        dq=mask.dq,
        window=mask.window,
        path=mask.path,
        instrument=mask.instrument if known is None else known.name,
        detector=mask.detector if description is None else description.name,
        owner=known,
        description=description,
        orientation=mask.orientation,
        header=header,
        notes=_left_out(mask.left_out),
    )
    if not image.frame.contains(image.window):
        raise GeometryError(
            f"the mask covers {image.window.describe()}; the detector {image.detector} is "
            f"{image.frame.describe()}",
            where=mask.path,
            hint="Correct SUBSTRT1 and SUBSTRT2, or DETECTOR.",
        )
    return image


def _left_out(bits: Mapping[int, int]) -> tuple[str, ...]:
    listing = ", ".join(f"bit {bit} of {number(count)} pixels" for bit, count in bits.items())
    return (f"left out on request: {listing}",) if bits else ()


def _look_up(
    name: str | None, detector: str | None, header: Mapping[str, object]
) -> tuple[Instrument | None, Detector | None]:
    """Return what is known of an instrument and detector; masks of others are welcome."""
    known = None
    try:
        known = load(name or "")
        return known, known.detector(detector or "", header)
    except (ConfigError, SelectionError):
        return known, None
