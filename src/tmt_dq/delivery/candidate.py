"""Candidate of a delivery: a copy of the mask as it will be delivered, but for its name."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tmt_dq.delivery.certify import Certification, certify_mask
from tmt_dq.delivery.mask_headers import check_identity, check_kind, text
from tmt_dq.delivery.reference_files import write_reference
from tmt_dq.errors import MaskFormatError, RampFormatError
from tmt_dq.files.atomic import output_errors
from tmt_dq.files.identity import sha256_of
from tmt_dq.fits.file import open_input
from tmt_dq.instruments import Instrument

__all__ = ["Candidate", "prepare_candidate"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A copy of a mask, and what rules see of it."""

    source: Path
    source_sha256: str
    copy: Path
    instrument: Instrument
    header: Mapping[str, str]
    """INSTRUME, DETECTOR, SUBARRAY, USEAFTER and REFTYPE."""
    remarks: tuple[str, ...]
    """What differs from the source, in words."""

    @property
    def exposure(self) -> dict[str, str]:
        """Keywords of the first exposure that the mask is for."""
        date, time = self.header["USEAFTER"].split("T")
        return {**self.header, "DATE-OBS": date, "TIME-OBS": time}


def prepare_candidate(source: Path, scratch: Path, useafter: str | None) -> Candidate:
    """Copy the mask, so that what is certified is what is delivered."""
    copy = scratch / "mask.fits"
    try:
        with open_input(source) as file:
            header = file.units[0].header
            Certification(source, tuple(check_kind(file))).raise_errors()
            findings, instrument, detector = check_identity(header)
            if file.compressed or instrument is None or detector is None:
                # What else is wrong with it is listed, too.
                certify_mask(source).raise_errors()
            Certification(source, tuple(findings)).raise_errors()
            assert instrument is not None
            assert detector is not None
            cards: dict[str, tuple[str, str]] = {}
            remarks = []
            if text(header, "DETECTOR") != detector.name:
                cards["DETECTOR"] = (detector.name, "Detector")
                remarks.append(f"DETECTOR: {text(header, 'DETECTOR')} is {detector.name} in rules")
            if file.named("ASDF"):
                remarks.append("ASDF: left out, CRDS allows no such extension in a FITS reference")
            if useafter is not None:
                cards["USEAFTER"] = (useafter, "First observation date this file is for")
            with output_errors(copy):
                write_reference(file, copy, cards, leave_out=("ASDF",))
    except RampFormatError as error:
        raise MaskFormatError(error.what, where=error.where, hint=error.hint) from error
    selectors = {
        "INSTRUME": instrument.name,
        "DETECTOR": detector.name,
        "SUBARRAY": text(header, "SUBARRAY").upper(),
        "USEAFTER": useafter or text(header, "USEAFTER"),
        "REFTYPE": instrument.reftype.upper(),
    }
    return Candidate(source, sha256_of(source), copy, instrument, selectors, tuple(remarks))
