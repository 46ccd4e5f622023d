"""A ramp and a mask as romancal wants them, from FITS files; runs in romancal's environment.

python make_romancal.py RAMP.fits MASK.fits RAMP.asdf MASK.asdf
python make_romancal.py --check OUTPUT.asdf RAMP.fits MASK.fits
"""

import json
import sys

import numpy as np
import roman_datamodels as rdm  # type: ignore[import-not-found]
from astropy.io import fits
from roman_datamodels import datamodels


def make(ramp: str, mask: str, ramp_out: str, mask_out: str) -> None:
    with fits.open(ramp) as hdus:
        data = np.asarray(hdus["SCI"].data[0], dtype=np.uint16)
    model = datamodels.ScienceRawModel.create_fake_data(shape=data.shape)
    model.data = data
    model.meta.instrument.detector = "WFI01"
    model.meta.exposure.read_pattern = [[number + 1] for number in range(len(data))]
    model.meta.exposure.nresultants = len(data)
    model.save(ramp_out)
    reference = datamodels.MaskRefModel.create_fake_data()
    reference.dq = np.asarray(fits.getdata(mask, "DQ"), dtype=np.uint32)
    reference.save(mask_out)


def check(output: str, ramp: str, mask: str) -> None:
    dq = np.asarray(fits.getdata(mask, "DQ"), dtype=np.uint32)
    with rdm.open(output) as model, fits.open(ramp) as hdus:
        sci = hdus["SCI"].data[0]
        found = {
            "status": str(model.meta.cal_step.dq_init),
            "pixeldq_is_mask": bool((model.pixeldq == dq).all()),
            "sci_equal": all(
                bool((read == expected).all())
                for read, expected in zip(model.data, sci, strict=True)
            ),
        }
    print(json.dumps(found))


if __name__ == "__main__":
    if sys.argv[1] == "--check":
        check(*sys.argv[2:])
    else:
        make(*sys.argv[1:])
