"""What a FITS file of the wrong kind is, and which verbs take it."""

from typing import Literal

from tmt_dq.fits.file import FitsInput

_MASKS = (
    "Masks are taken by tmt-dq apply --mask (mask=...), inspect, diff, explain, combine, certify "
    "and deliver."
)
_EXPOSURES = (
    "Exposures are taken by tmt-dq apply, select, batch and watch; tmt-dq import and tmt-dq "
    "combine make masks."
)
_INITIALIZED = "Initialized exposures are taken by tmt-dq inspect, diff and explain."


def wrong_kind(
    file: FitsInput, expected: Literal["an exposure", "a mask"]
) -> tuple[str, str] | None:
    """Return what a file is that is not `expected`, and a hint; None if its headers do not tell."""
    header, has_reads = file.units[0].header, bool(file.named("SCI"))
    reftype = str(header.get("REFTYPE") or "").strip().upper()
    if expected == "an exposure" and reftype and not has_reads:
        return f"is a reference file (REFTYPE is {reftype}), not an exposure", _MASKS
    if expected == "a mask" and has_reads and not reftype:
        hint = _INITIALIZED if header.get("S_DQINIT") == "COMPLETE" else _EXPOSURES
        return "is an exposure, not a mask: it has an SCI extension and no REFTYPE", hint
    return None
