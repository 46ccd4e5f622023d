"""Checks of a mask before its delivery: each yields what it finds in headers, tables or pixels."""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import numpy.typing as npt

from tmt_dq.core.counts import FlagCount, count_usable
from tmt_dq.core.flags import PIXEL
from tmt_dq.core.geometry import Window, overlap
from tmt_dq.delivery.reference_files import wrong_checksums
from tmt_dq.errors import ConfigError, SelectionError
from tmt_dq.fits.file import FitsInput
from tmt_dq.instruments import Detector, Instrument, available, load
from tmt_dq.instruments.description import WILDCARDS, Limits
from tmt_dq.masks.mask import Mask
from tmt_dq.masks.useafter import useafter_text
from tmt_dq.references.cache import open_cache_of

SUBARRAYS = ("CUSTOM", "FULL", "GENERIC", "N/A")
"""What SUBARRAY may be (FACTS of the subarray keywords: the ICD's list)."""

_PROVENANCE = {
    "PEDIGREE": "where the values come from: INFLIGHT <first day> <last day>, GROUND, SIMULATION, "
    "MODEL or DUMMY",
    "AUTHOR": "who made the mask",
    "DESCRIP": "what the mask is, in a line",
    "HISTORY": "how the mask was made, and why",
}

_NOT_OF_PIXELS = {
    *("SATURATED", "JUMP_DET", "DROPOUT", "OUTLIER", "PERSISTENCE", "AD_FLOOR", "CHARGELOSS"),
    *("FLUX_ESTIMATED", "RESERVED", "MSA_FAILED_OPEN"),
}
"""Flags of what happened in an exposure (JWST documentation, "Data Quality Flags"), a reserved one,
and one of NIRSpec's micro-shutters."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that an examination found.

    Parameters
    ----------
    severity : {"error", "warning", "info"}
        An error forbids delivery.
    where : str
        The keyword, extension or tool concerned.
    what : str
        What was found, and what was expected.
    remedy : str or None
        What to do about it.
    """

    severity: Literal["error", "warning", "info"]
    where: str
    what: str
    remedy: str | None = None


error = partial(Finding, "error")
_warning = partial(Finding, "warning")
_info = partial(Finding, "info")
_Findings = Iterator[Finding]
Flags = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Subject:
    """What is examined: a file, whose mask it is, its flags, and the options for their number."""

    file: FitsInput
    header: Mapping[str, object]
    instrument: Instrument | None
    detector: Detector | None
    mask: Mask | None
    counts: tuple[FlagCount, ...]
    max_flagged: float | None
    border: bool


def text(header: Mapping[str, object], keyword: str) -> str:
    """Return a keyword's value as text, "" where there is none."""
    value = header.get(keyword)
    return "" if value is None else str(value).strip()


def _found(value: str) -> str:
    return f"is {value!r}" if value else "is missing"


def check_identity(
    header: Mapping[str, object], crds_path: str | os.PathLike[str] | None, context: str | None
) -> tuple[list[Finding], Instrument | None, Detector | None]:
    """Find out whose mask it is: instrument and detector are None where that cannot be known.

    The instrument is as the rules of the cache know it.
    """
    name = text(header, "INSTRUME")
    if name.upper() not in available():
        what = f"{_found(name)}; expected {' or '.join(available())}"
        remedy = "Only masks of these instruments can be delivered."
        return [error("INSTRUME", what, remedy)], None, None
    findings = []
    described, detector = load(name), None
    _, instrument = open_cache_of(crds_path, described, context)
    expected = {"TELESCOP": instrument.telescope, "REFTYPE": instrument.reftype.upper()}
    written: dict[str, str] = {}
    try:
        detector = instrument.detector(text(header, "DETECTOR"), header)
        written["DETECTOR"] = detector.name
    except SelectionError as problem:
        findings.append(error("DETECTOR", problem.what, problem.hint))
    if text(header, "REFTYPE").lower() in described.reftypes:
        written["REFTYPE"] = expected.pop("REFTYPE")
    for keyword, value in written.items():
        found = text(header, keyword)
        if found != value:
            what = f"is {found}, another name of {value}, which a delivery writes instead"
            findings.append(_warning(keyword, what, f"Write {value}."))
    for keyword, value in expected.items():
        found = text(header, keyword)
        if found.upper() != value.upper():
            remedy = f"Write {value}, if this is a mask of {instrument.name}."
            findings.append(error(keyword, f"{_found(found)}; expected {value}", remedy))
    return findings, instrument, detector


def check_mask(subject: Subject) -> _Findings:
    """Check all but whose mask it is, in the order in which findings are listed."""
    yield from _check_provenance(subject)
    yield from _check_structure(subject)
    mask, detector = subject.mask, subject.detector
    if mask is not None:
        yield from _check_flags(mask, subject.counts)
    if mask is not None and detector is not None:
        frame = Window.full(*detector.shape)
        active = mask.dq[overlap(frame.without(detector.reference_border), mask.window)]
        yield from _check_place(mask, detector, subject.header)
        if frame.contains(mask.window) and (mask.placed or mask.window == frame):
            yield from _check_border(mask, detector, active, demanded=subject.border)
        if subject.instrument is not None:
            yield from _check_fractions(active, subject.instrument.limits, subject.max_flagged)


def _check_provenance(subject: Subject) -> _Findings:
    """Check from when on a mask is valid and where it comes from."""
    useafter = text(subject.header, "USEAFTER")
    try:
        expected = useafter_text(useafter)
    except ConfigError:
        expected = "the time of the first exposure that the mask is for"
    if useafter != expected:
        yield error(
            "USEAFTER",
            f"{_found(useafter)}; expected a UTC date and time that exist, as YYYY-MM-DDThh:mm:ss",
            f"Write {expected}; tmt-dq deliver --useafter does so in its copy.",
        )
    for keyword, meaning in _PROVENANCE.items():
        if text(subject.header, keyword).upper() in WILDCARDS:
            yield error(keyword, f"is missing: {meaning}", f"Write {keyword}.")
    pedigree = text(subject.header, "PEDIGREE")
    if pedigree != pedigree.upper():
        expected = pedigree.upper()
        yield error("PEDIGREE", f"is {pedigree!r}; expected {expected!r}", f"Write {expected}.")


def _check_structure(subject: Subject) -> _Findings:
    """Check how a file is put together: plain FITS, with right checksums."""
    file = subject.file
    if file.compressed:
        yield error("file", "is compressed; expected plain FITS", "Expand it (gunzip, funpack).")
        return
    for label in wrong_checksums(file):
        yield error(
            label,
            "CHECKSUM or DATASUM does not fit the bytes",
            "The file was changed or damaged. Make it again, or sign it anew if the change was "
            "meant (tmt-dq crds checksum FILE).",
        )
    if file.named("ASDF"):
        what = "CRDS allows no such extension in a FITS reference; a delivery leaves it out"
        yield _warning("ASDF", what)


def _check_flags(mask: Mask, counts: Iterable[FlagCount]) -> _Findings:
    """Check how flags and DO_NOT_USE go together, and which flags do not belong in a mask."""
    bad = [count for count in counts if count.name not in {"DO_NOT_USE", "REFERENCE_PIXEL"}]
    lacking, flagged = count_usable(mask.dq)
    if lacking:
        what = f"{lacking:,} of {flagged:,} flagged pixels lack DO_NOT_USE: steps will use them"
        remedy = "Set DO_NOT_USE where a flag means that the pixel is not to be used."
        yield _warning("DQ", what, remedy)
    for count in bad:
        what = (
            f"{count.name}: {count.pixels:,} pixels, {count.with_do_not_use:,} with DO_NOT_USE and "
            f"{count.without_do_not_use:,} without"
        )
        yield _info("DQ", what)
        if count.name in _NOT_OF_PIXELS:
            what = f"{count.name} does not belong in a mask; {count.pixels:,} pixels have it"
            yield _warning("DQ", what, "Clear it, or set the flag that is meant.")


def _check_place(mask: Mask, detector: Detector, header: Mapping[str, object]) -> _Findings:
    """Compare the pixels that a mask covers with its detector and with SUBARRAY."""
    window, frame = mask.window, Window.full(*detector.shape)
    subarray = text(header, "SUBARRAY").upper()
    if not frame.contains(window):
        what = f"lies at {window.describe()}, but {detector.name} has {frame.describe()}"
        yield error("DQ", what, "Correct SUBSTRT1 and SUBSTRT2, or DETECTOR.")
    if subarray not in SUBARRAYS:
        what = f"{_found(subarray)}; expected {', '.join(SUBARRAYS)}"
        yield error("SUBARRAY", what, "GENERIC serves exposures with any subarray.")
    elif window != frame and subarray != "CUSTOM":
        yield error(
            "DQ",
            f"covers {window.describe()} only, but SUBARRAY {subarray} promises the full frame, "
            f"{frame.describe()}",
            "Make the mask as large as the detector, or write SUBARRAY = CUSTOM.",
        )
    elif window != frame:
        missing = ", ".join(key for key in ("SUBSTRT1", "SUBSTRT2") if not text(header, key))
        if missing:
            what = "is missing: where on the detector the mask lies"
            yield error(missing, what, "Write the 1-based position of the first pixel.")
        what = f"covers {window.describe()} only; exposures that reach beyond it and select it fail"
        yield _warning("DQ", what, "A full-frame mask serves all exposures.")


def _check_border(mask: Mask, detector: Detector, active: Flags, *, demanded: bool) -> _Findings:
    """Compare REFERENCE_PIXEL with where the border of reference pixels is."""
    reference = np.uint32(PIXEL["REFERENCE_PIXEL"])
    wrong = int(np.count_nonzero(active & reference))
    border = mask.dq.size - active.size
    missing = border - (int(np.count_nonzero(mask.dq & reference)) - wrong)
    place = f"the border of reference pixels ({detector.reference_border.describe()} wide)"
    what = f"{missing:,} of the {border:,} pixels in {place} lack REFERENCE_PIXEL"
    if missing and demanded:
        yield error(
            "DQ",
            f"{what}: exposures would take them for pixels that see light",
            "Start from the mask in force, which has the border: tmt-dq combine THAT_MASK NEW_MASK "
            "-o MASK. For a detector without reference pixels: --no-border (border=False).",
        )
    elif missing:
        yield _warning("DQ", f"{what}; accepted (--no-border)")
    if wrong:
        what = f"{wrong:,} pixels outside {place} have REFERENCE_PIXEL"
        yield _warning("DQ", what, "Clear the flag there.")


def _check_fractions(active: Flags, limits: Limits, most_flagged: float | None) -> _Findings:
    """Check that not more of the pixels inside the border are flagged than is plausible."""
    for what, bits, limit in (
        ("flagged", PIXEL.mask, limits.flagged_fraction),
        ("DO_NOT_USE", PIXEL["DO_NOT_USE"], limits.do_not_use_fraction),
    ):
        most = limit if most_flagged is None else most_flagged
        count = int(np.count_nonzero(active & np.uint32(bits)))
        if most is not None and count > most * active.size:
            yield error(
                "DQ",
                f"{count:,} of {active.size:,} active pixels ({count / active.size:.1%}) are "
                f"{what}; plausible are up to {most:.1%}",
                "Look at the mask (tmt-dq inspect). If it is right, use --max-flagged FRACTION.",
            )
