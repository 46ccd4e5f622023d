"""A ramp and a mask as jwst wants them, from FITS files; runs in jwst's own environment.

python make_jwst.py RAMP.fits MASK.fits RAMP_OUT.fits MASK_OUT.fits
python make_jwst.py --check OUTPUT.fits RAMP.fits MASK.fits
"""

import json
import sys
from typing import Any

import numpy as np
from astropy.io import fits
from stdatamodels.jwst import datamodels


def make(ramp: str, mask: str, ramp_out: str, mask_out: str) -> None:
    with fits.open(ramp) as hdus:
        sci = np.asarray(hdus["SCI"].data, dtype=np.uint16)
    model = datamodels.Level1bModel(sci)
    _describe(model, sci.shape[-2:])
    model.meta.observation.date = "2026-01-01"
    model.meta.observation.time = "00:00:00.000"
    model.meta.exposure.type = "NRC_IMAGE"
    model.meta.exposure.nints, model.meta.exposure.ngroups = sci.shape[:2]
    model.save(ramp_out)
    dq = np.asarray(fits.getdata(mask, "DQ"), dtype=np.uint32)
    reference = datamodels.MaskModel(dq=dq)
    _describe(reference, dq.shape)
    reference.meta.reftype = "mask"
    reference.meta.pedigree = "DUMMY"
    reference.meta.author = reference.meta.description = "The pixels of a TMT mask"
    reference.meta.useafter = "2015-01-01T00:00:00"
    reference.save(mask_out)


def check(output: str, ramp: str, mask: str) -> None:
    dq = np.asarray(fits.getdata(mask, "DQ"), dtype=np.uint32)
    with fits.open(output) as hdus, fits.open(ramp) as expected:
        # One read at a time: section decodes no more than that.
        ngroups = hdus["SCI"].shape[1]
        found = {
            "status": hdus[0].header["S_DQINIT"],
            "pixeldq_is_mask": bool((hdus["PIXELDQ"].data == dq).all()),
            "sci_equal": all(
                bool((hdus["SCI"].section[0, n] == expected["SCI"].section[0, n]).all())
                for n in range(ngroups)
            ),
        }
    print(json.dumps(found))


def _describe(model: Any, shape: tuple[int, ...]) -> None:
    model.meta.telescope = "JWST"
    model.meta.instrument.name = "NIRCAM"
    model.meta.instrument.detector = "NRCA1"
    model.meta.subarray.name = "FULL"
    model.meta.subarray.xstart = model.meta.subarray.ystart = 1
    model.meta.subarray.ysize, model.meta.subarray.xsize = shape


if __name__ == "__main__":
    if sys.argv[1] == "--check":
        check(*sys.argv[2:])
    else:
        make(*sys.argv[1:])
