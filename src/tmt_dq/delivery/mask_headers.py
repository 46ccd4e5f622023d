"""What the headers and tables of a mask must hold before it may be delivered."""

import contextlib
from collections.abc import Iterator, Mapping

from tmt_dq.core.dq_def import translation
from tmt_dq.core.flags import PIXEL
from tmt_dq.core.geometry import Window
from tmt_dq.delivery.findings import Finding, error, warning
from tmt_dq.delivery.reference_files import wrong_checksums
from tmt_dq.errors import ConfigError, SelectionError, TmtDqError
from tmt_dq.fits.file import FitsInput
from tmt_dq.fits.kinds import wrong_kind
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


def _found(value: str) -> str:
    return f"is {value!r}" if value else "is missing"


def check_kind(file: FitsInput) -> Iterator[Finding]:
    """Yield an error if the file is an exposure: its keywords need no correction."""
    wrong = wrong_kind(file, "a mask")
    if wrong is not None:
        yield error("file", *wrong)


def check_identity(
    header: Mapping[str, object],
) -> tuple[list[Finding], Instrument | None, Detector | None]:
    """Find out whose mask it is: instrument and detector are None where that cannot be known."""
    name = text(header, "INSTRUME")
    if name.upper() not in available():
        what = f"{_found(name)}; expected {' or '.join(available())}"
        remedy = "Only masks of these instruments can be delivered."
        return [error("INSTRUME", what, remedy)], None, None
    findings = []
    instrument, detector = load(name), None
    found = text(header, "DETECTOR")
    try:
        detector = instrument.detector(found)
    except SelectionError as problem:
        findings.append(error("DETECTOR", problem.what, problem.hint))
    else:
        if found != detector.name:
            what = f"is {found}, another name of {detector.name}; rules know {detector.name}"
            remedy = f"Write {detector.name}; tmt-dq deliver does so in its copy."
            findings.append(warning("DETECTOR", what, remedy))
    for keyword, expected in (
        ("TELESCOP", instrument.telescope),
        ("REFTYPE", instrument.reftype.upper()),
    ):
        found = text(header, keyword)
        if found.upper() != expected:
            remedy = f"Write {expected}, if this is a mask of {instrument.name}."
            findings.append(error(keyword, f"{_found(found)}; expected {expected}", remedy))
    return findings, instrument, detector


def check_provenance(header: Mapping[str, object]) -> Iterator[Finding]:
    """Check from when on a mask is valid and where it comes from."""
    useafter = text(header, "USEAFTER")
    expected = None
    with contextlib.suppress(ConfigError):
        expected = useafter_text(useafter)
    if useafter != expected:
        yield error(
            "USEAFTER",
            f"{_found(useafter)}; expected a UTC date and time that exist, as YYYY-MM-DDThh:mm:ss",
            f"Write {expected or 'the time of the first exposure that the mask is for'}; tmt-dq "
            "deliver --useafter does so in its copy.",
        )
    for keyword, meaning in _PROVENANCE.items():
        if text(header, keyword).upper() in WILDCARDS:
            yield error(keyword, f"is missing: {meaning}", f"Write {keyword}.")
    pedigree = text(header, "PEDIGREE")
    if pedigree != pedigree.upper():
        expected = pedigree.upper()
        yield error("PEDIGREE", f"is {pedigree!r}; expected {expected!r}", f"Write {expected}.")


def check_structure(file: FitsInput) -> Iterator[Finding]:
    """Check how a file is put together: plain FITS, right checksums, a table that makes sense."""
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
        what = "CRDS allows no ASDF extension in a FITS reference"
        yield warning("ASDF", what, "Leave it out; tmt-dq deliver does so in its copy.")
    for unit in file.named("DQ_DEF"):
        try:
            rows = read_dq_def(file, unit)
            meaning = translation(rows, where=file.path, unknown="error")
        except TmtDqError:
            continue  # reading the mask gives the same error
        for name in sorted({row.name.strip() for row in rows} & PIXEL.aliases.keys()):
            new = PIXEL.aliases[name]
            yield warning("DQ_DEF", f"{name} is now called {new}", f"Write {new}.")
        if not meaning.is_identity:
            what = "bits have other places than in the convention; read by name"
            yield Finding("info", "DQ_DEF", what)


def check_place(
    header: Mapping[str, object], window: Window, detector: Detector
) -> Iterator[Finding]:
    """Compare the pixels that a mask covers with its detector and with SUBARRAY."""
    frame = Window.full(*detector.shape)
    subarray = text(header, "SUBARRAY").upper()
    if not frame.contains(window):
        what = f"lies at {window.describe()}, but {detector.name} has {frame.describe()}"
        yield error("DQ", what, "Correct SUBSTRT1 and SUBSTRT2, or DETECTOR.")
    if subarray not in SUBARRAYS:
        what = f"{_found(subarray)}; expected {', '.join(sorted(SUBARRAYS))}"
        yield error("SUBARRAY", what, "GENERIC serves exposures with any subarray.")
    elif subarray == "N/A" and window == frame:
        yield warning(
            "SUBARRAY",
            "is N/A; TMT's rules call what serves all subarrays GENERIC, and such a mask cannot be "
            "delivered into a cache with rules for GENERIC",
            "Write GENERIC, unless the cache's own rules have N/A.",
        )
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
        yield warning("DQ", what, "A full-frame mask serves all exposures.")
