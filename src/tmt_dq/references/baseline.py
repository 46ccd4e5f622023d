"""Builds what `tmt_dq.references.embedded` ships: ``python -m tmt_dq.references.baseline FOLDER``.

Everything follows from the instruments' descriptions and the constants below; the tests build it
anew and compare.
"""

import hashlib
import io
import json
import lzma
import sys
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from tmt_dq import instruments
from tmt_dq.core import flags
from tmt_dq.instruments import Detector, Instrument
from tmt_dq.references.server_config import server_config

__all__ = ["build", "mask_bytes"]

OBSERVATORIES = ("tmt",)
"""Whose rules and masks come with the package. Liger's are its own observatory's to publish."""

SERIAL = 100
"""Number of the contexts; the masks follow it."""

USEAFTER = "2015-01-01 00:00:00"
"""Start of validity: before any IRIS data, simulated ones included."""

_DATE = "2026-01-01T00:00:00"
_AUTHOR = "The tmt-dq developers"


def mask_bytes(instrument: Instrument, detector: Detector, name: str) -> bytes:
    """Return a baseline mask as a FITS file.

    Parameters
    ----------
    instrument : Instrument
        The instrument.
    detector : Detector
        Its detector.
    name : str
        Name of the file.

    Returns
    -------
    bytes
        The same bytes at every call: REFERENCE_PIXEL in the detector's border, 0 elsewhere.
    """
    rows, columns = detector.shape
    border = detector.reference_border
    dq = np.full((rows, columns), flags.PIXEL["REFERENCE_PIXEL"], np.uint32)
    dq[border : rows - border, border : columns - border] = 0
    primary = fits.PrimaryHDU()
    for keyword, value, comment in (
        ("DATE", _DATE, "date of the file"),
        ("ORIGIN", "tmt-dq", "the package that made the file"),
        ("FILENAME", name, "name of the file"),
        ("DATAMODL", "TMTMaskModel", "type of data model"),
        ("TELESCOP", instrument.telescope, "telescope"),
        ("INSTRUME", instrument.name, "instrument"),
        ("DETECTOR", detector.name, "detector"),
        ("REFTYPE", instrument.reftype.upper(), "type of reference file"),
        ("PEDIGREE", "DUMMY", "origin of the values"),
        ("USEAFTER", USEAFTER.replace(" ", "T"), "start of validity"),
        ("AUTHOR", _AUTHOR, "author"),
        ("DESCRIP", "Baseline mask: the border of reference pixels", "description"),
        ("SUBARRAY", "GENERIC", "the subarrays it serves"),
        ("SUBSTRT1", 1, "1-based start in x"),
        ("SUBSTRT2", 1, "1-based start in y"),
        ("SUBSIZE1", columns, "size in x"),
        ("SUBSIZE2", rows, "size in y"),
    ):
        primary.header[keyword] = (value, comment)
    primary.header["HISTORY"] = (
        f"REFERENCE_PIXEL in the outermost {border} rows and columns, made by tmt-dq."
    )
    primary.header["HISTORY"] = "No measurement went into it: it knows no bad pixels."
    image = fits.ImageHDU(dq, name="DQ")
    for unit in (primary, image):
        unit.add_checksum(when=f"made {_DATE}")
    stream = io.BytesIO()
    fits.HDUList([primary, image]).writeto(stream)
    return stream.getvalue()


def build(folder: Path) -> None:
    """Write the data of the embedded cache: rules, configuration, packed masks and manifest.

    Parameters
    ----------
    folder : Path
        Where to; usually the package's ``references/data``.
    """
    manifest: dict[str, dict[str, Any]] = {}

    def write(path: str, content: bytes, *, packed: bool = False) -> None:
        target = folder / (f"{path}.xz" if packed else path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(lzma.compress(content, preset=9) if packed else content)
        digest = hashlib.sha256(content).hexdigest()
        manifest[path] = {"size": len(content), "sha256": digest, "packed": packed}

    for observatory in OBSERVATORIES:
        instruments_here = [
            instrument
            for instrument in map(instruments.load, instruments.available())
            if instrument.observatory == observatory
        ]
        imaps = {}
        for instrument in instruments_here:
            stem = f"{observatory}_{instrument.name.lower()}"
            kind = instrument.reftype
            masks = {
                detector: f"{stem}_{kind}_{SERIAL + number:04d}.fits"
                for number, detector in enumerate(instrument.detectors.values(), start=1)
            }
            for detector, name in masks.items():
                path = f"references/{observatory}/{instrument.name.lower()}/{name}"
                write(path, mask_bytes(instrument, detector, name), packed=True)
            rmap, imap = f"{stem}_{kind}_{SERIAL:04d}.rmap", f"{stem}_{SERIAL:04d}.imap"
            write(f"mappings/{observatory}/{rmap}", _rmap(instrument, rmap, masks))
            write(f"mappings/{observatory}/{imap}", _imap(instrument, imap, {kind.upper(): rmap}))
            imaps[instrument.name] = imap
        pmap = f"{observatory}_{SERIAL:04d}.pmap"
        write(f"mappings/{observatory}/{pmap}", _pmap(observatory, pmap, imaps))
        write(f"config/{observatory}/server_config", server_config(observatory, pmap).encode())
        write(f"config/{observatory}/ref_cache_subdir_mode", b"instrument")
    text = json.dumps(dict(sorted(manifest.items())), indent=1)
    (folder / "manifest.json").write_text(f"{text}\n", "utf-8")


def _rmap(instrument: Instrument, name: str, masks: dict[Detector, str]) -> bytes:
    """Return rules that select a detector's mask, whatever the subarray."""
    keys = ("META.INSTRUMENT.DETECTOR", "META.SUBARRAY.NAME")
    header = {
        "classes": ("Match", "UseAfter"),
        "derived_from": "NONE",
        "filekind": instrument.reftype.upper(),
        "instrument": instrument.name,
        "mapping": "REFERENCE",
        "name": name,
        "observatory": instrument.observatory.upper(),
        "parkey": (keys, ("META.OBSERVATION.DATE", "META.OBSERVATION.TIME")),
        "substitutions": {keys[1]: {"GENERIC": "N/A"}},
    }
    rules = "".join(
        f"    {(detector.name, 'GENERIC')!r} : UseAfter({{\n"
        f"        {USEAFTER!r} : {mask!r},\n"
        "    }),\n"
        for detector, mask in sorted(masks.items(), key=lambda item: item[0].name)
    )
    return _mapping(header, f"Match({{\n{rules}}})")


def _imap(instrument: Instrument, name: str, rmaps: dict[str, str]) -> bytes:
    header = {
        "derived_from": "NONE",
        "instrument": instrument.name,
        "mapping": "INSTRUMENT",
        "name": name,
        "observatory": instrument.observatory.upper(),
        "parkey": ("REFTYPE",),
    }
    return _mapping(header, _dictionary(rmaps))


def _pmap(observatory: str, name: str, imaps: dict[str, str]) -> bytes:
    header = {
        "derived_from": "NONE",
        "description": "The rules that come with tmt-dq",
        "mapping": "PIPELINE",
        "name": name,
        "observatory": observatory.upper(),
        "parkey": ("META.INSTRUMENT.NAME",),
    }
    return _mapping(header, _dictionary(imaps))


def _dictionary(table: dict[str, Any], depth: int = 0) -> str:
    """Format a dictionary the way crds does."""
    indent = "    " * depth
    lines = []
    for key, value in sorted(table.items()):
        text = _dictionary(value, depth + 1) if isinstance(value, dict) else repr(value)
        lines.append(f"{indent}    {key!r} : {text},\n")
    return f"{{\n{''.join(lines)}{indent}}}"


def _mapping(header: dict[str, Any], selector: str) -> bytes:
    """Return a file of rules with its sha1sum, which covers all lines but its own."""
    rest = f"header = {_dictionary(header)}\n\nselector = {selector}\n"
    digest = hashlib.sha1(rest.encode(), usedforsecurity=False).hexdigest()
    return (
        f"header = {_dictionary({**header, 'sha1sum': digest})}\n\nselector = {selector}\n".encode()
    )


if __name__ == "__main__":
    build(Path(sys.argv[1]))
