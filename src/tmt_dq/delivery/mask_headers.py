"""What the headers and tables of a mask must hold before it may be delivered."""

from collections.abc import Iterator, Mapping

from tmt_dq.core.dq_def import Unknown, translation
from tmt_dq.core.flags import PIXEL
from tmt_dq.core.geometry import Window
from tmt_dq.delivery.findings import Finding
from tmt_dq.delivery.reference_files import wrong_checksums
from tmt_dq.errors import ConfigError, SelectionError, TmtDqError
from tmt_dq.fits.file import FitsInput
from tmt_dq.fits.tables import read_dq_def
from tmt_dq.instruments import Detector, Instrument, available, load
from tmt_dq.instruments.description import WILDCARDS
from tmt_dq.masks.useafter import useafter_text

__all__ = [
    "SUBARRAYS",
    "check_identity",
    "check_kind",
    "check_place",
    "check_provenance",
    "check_structure",
    "text",
]

SUBARRAYS = {"FULL", "CUSTOM", "GENERIC", "N/A"}
"""What SUBARRAY may be (FACTS of the subarray keywords: the ICD's list)."""

_PROVENANCE = {
    "PEDIGREE": "where the values come from: INFLIGHT <first day> <last day>, GROUND, SIMULATION, "
    "MODEL or DUMMY",
    "AUTHOR": "who made the mask",
    "DESCRIP": "what the mask is, in a line",
    "HISTORY": "how the mask was made, and why",
}


def text(header: Mapping[str, object], keyword: str) -> str:
    """Return a keyword's value as text, "" where there is none."""
    value = header.get(keyword)
    return "" if value is None or type(value).__name__ == "Undefined" else str(value).strip()


def check_kind(file: FitsInput) -> Iterator[Finding]:
    """Yield an error if the file is an exposure: its keywords need no correction."""
    if file.named("SCI") and not text(file.units[0].header, "REFTYPE"):
        yield Finding(
            "error",
            "file",
            "is an exposure, not a mask: it has an SCI extension and no REFTYPE",
            "tmt-dq apply initializes exposures; tmt-dq import and tmt-dq combine make masks.",
        )


def check_identity(
    header: Mapping[str, object],
) -> tuple[list[Finding], Instrument | None, Detector | None]:
    """Find out whose mask it is."""
    findings = []
    instrument = detector = None
    name = text(header, "INSTRUME")
    if name.upper() in available():
        instrument = load(name)
    else:
        what = f"is {name!r}" if name else "is missing"
        known = " or ".join(available())
        remedy = "Only masks of these instruments can be delivered."
        findings.append(Finding("error", "INSTRUME", f"{what}; expected {known}", remedy))
    if instrument is not None:
        found = text(header, "DETECTOR")
        try:
            detector = instrument.detector(found)
        except SelectionError as error:
            findings.append(Finding("error", "DETECTOR", error.what, error.hint))
        else:
            if found != detector.name:
                what = f"is {found}, another name of {detector.name}; rules know {detector.name}"
                remedy = f"Write {detector.name}; tmt-dq deliver does so in its copy."
                findings.append(Finding("warning", "DETECTOR", what, remedy))
        for keyword, expected in (
            ("TELESCOP", instrument.telescope),
            ("REFTYPE", instrument.reftype.upper()),
        ):
            found = text(header, keyword)
            if found.upper() != expected:
                what = f"is {found!r}" if found else "is missing"
                remedy = f"Write {expected}, if this is a mask of {instrument.name}."
                findings.append(Finding("error", keyword, f"{what}; expected {expected}", remedy))
    return findings, instrument, detector


def check_provenance(header: Mapping[str, object]) -> Iterator[Finding]:
    """Check what says from when on a mask is valid and where it comes from."""
    useafter = text(header, "USEAFTER")
    try:
        expected = useafter_text(useafter) if useafter else ""
    except ConfigError:
        expected = ""
    if not expected or useafter != expected:
        what = f"is {useafter!r}" if useafter else "is missing"
        value = expected or "the time of the first exposure that the mask is for"
        yield Finding(
            "error",
            "USEAFTER",
            f"{what}; expected a UTC date and time that exist, as YYYY-MM-DDThh:mm:ss",
            f"Write {value}; tmt-dq deliver --useafter does so in its copy.",
        )
    for keyword, meaning in _PROVENANCE.items():
        if not text(header, keyword) or text(header, keyword).upper() in WILDCARDS:
            yield Finding("error", keyword, f"is missing: {meaning}", f"Write {keyword}.")
    pedigree = text(header, "PEDIGREE")
    if pedigree != pedigree.upper():
        expected = pedigree.upper()
        yield Finding(
            "error", "PEDIGREE", f"is {pedigree!r}; expected {expected!r}", f"Write {expected}."
        )


def check_structure(file: FitsInput, unknown: Unknown = "error") -> Iterator[Finding]:
    """Check how a file is put together: plain FITS, right checksums, a table that makes sense."""
    if file.compressed:
        yield Finding(
            "error", "file", "is compressed; expected plain FITS", "Expand it (gunzip, funpack)."
        )
        return
    for label in wrong_checksums(file):
        yield Finding(
            "error",
            label,
            "CHECKSUM or DATASUM does not fit the bytes",
            "The file was changed or damaged. Make it again, or sign it anew if the change was "
            "meant (tmt-dq crds checksum FILE).",
        )
    if file.named("ASDF"):
        yield Finding(
            "warning",
            "ASDF",
            "CRDS allows no ASDF extension in a FITS reference",
            "Leave it out; tmt-dq deliver does so in its copy.",
        )
    for unit in file.named("DQ_DEF"):
        try:
            rows = read_dq_def(file, unit)
            meaning = translation(rows, where=file.path, unknown=unknown)
        except TmtDqError:
            continue  # reading the mask says it
        aliases = sorted({row.name.strip() for row in rows if row.name.strip() in PIXEL.aliases})
        for name in aliases:
            new = PIXEL.aliases[name]
            yield Finding("warning", "DQ_DEF", f"{name} is now called {new}", f"Write {new}.")
        if not meaning.is_identity:
            yield Finding(
                "info", "DQ_DEF", "bits have other places than in the convention; read by name"
            )


def check_place(
    header: Mapping[str, object], window: Window, detector: Detector
) -> Iterator[Finding]:
    """Compare the pixels that a mask covers with its detector and with what SUBARRAY says."""
    frame = Window.full(*detector.shape)
    subarray = text(header, "SUBARRAY").upper()
    if not frame.contains(window):
        yield Finding(
            "error",
            "DQ",
            f"lies at {window.describe()}, but {detector.name} has {frame.describe()}",
            "Correct SUBSTRT1 and SUBSTRT2, or DETECTOR.",
        )
    if subarray not in SUBARRAYS:
        what = f"is {subarray!r}" if subarray else "is missing"
        yield Finding(
            "error",
            "SUBARRAY",
            f"{what}; expected {', '.join(sorted(SUBARRAYS))}",
            "GENERIC serves exposures with any subarray.",
        )
    elif subarray == "N/A" and window == frame:
        yield Finding(
            "warning",
            "SUBARRAY",
            "is N/A; TMT's rules call what serves all subarrays GENERIC, and such a mask cannot be "
            "delivered into a cache with rules for GENERIC",
            "Write GENERIC, unless the cache's own rules say N/A.",
        )
    elif window != frame and subarray != "CUSTOM":
        yield Finding(
            "error",
            "DQ",
            f"covers {window.describe()} only, but SUBARRAY {subarray} promises the full frame, "
            f"{frame.describe()}",
            "Make the mask as large as the detector, or say SUBARRAY = CUSTOM.",
        )
    elif window != frame:
        missing = [key for key in ("SUBSTRT1", "SUBSTRT2") if not text(header, key)]
        if missing:
            yield Finding(
                "error",
                ", ".join(missing),
                "is missing: where on the detector the mask lies",
                "Write the 1-based position of the first pixel.",
            )
        yield Finding(
            "warning",
            "DQ",
            f"covers {window.describe()} only; exposures that reach beyond it and select it fail",
            "A full-frame mask serves all exposures.",
        )
