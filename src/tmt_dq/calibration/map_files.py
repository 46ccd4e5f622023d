"""Maps in a FITS file: an image extension each, with unit and meaning."""

import os
from pathlib import Path

import numpy as np

from tmt_dq.calibration.maps import UNITS, Maps
from tmt_dq.files.atomic import atomic_output, output_errors


def write_maps(path: Path, maps: Maps, *, overwrite: bool = False) -> None:
    """Write maps as float32, and the reference pixels as uint8."""
    from astropy.io import fits

    hdus = fits.HDUList([fits.PrimaryHDU()])
    hdus[0].header["NDARKS"] = (maps.darks, "darks")
    hdus[0].header["NREADS"] = (maps.reads, "reads of a dark")
    hdus[0].header["DARKTIME"] = (maps.dark_seconds, "[s] from the first to the last read")
    for name, values in maps.items():
        unit, meaning = UNITS[name]
        hdu = fits.ImageHDU(values, name=name.upper())
        hdu.header["BUNIT"] = unit
        hdu.header["COMMENT"] = meaning
        hdus.append(hdu)
    hdus.append(fits.ImageHDU(maps.reference.astype(np.uint8), name="REFERENCE"))
    with (
        atomic_output(path, overwrite=overwrite) as fd,
        output_errors(path),
        os.fdopen(os.dup(fd), "wb") as file,
    ):
        hdus.writeto(file)
