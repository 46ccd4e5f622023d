"""jwst_reffiles and ccdproc.ccdmask on darks and flats; runs in an environment of their own.

python find_bad_pixels.py EXPOSURES.npz FOUND.npz

The environment: Python 3.12, ccdproc 2.5.1, jwst-reffiles 1.0.1, jwst 3.0.0; for romanisim 0.15.0
(expose_with_romanisim.py) galsim, roman_datamodels and roman_technical_information, too.

jwst_reffiles reads what jwst's pipeline makes of ramps: jwst's steps jump and ramp_fit make it, of
reads from which bias and noise in common were taken, as the steps before them do.
"""

import os
import sys
import tempfile
from typing import Any

os.environ["STPIPE_DISABLE_CRDS_STEPPARS"] = "true"

import numpy as np
import numpy.typing as npt
from astropy.io import fits
from astropy.nddata import CCDData
from ccdproc import ccdmask
from jwst.jump import JumpStep
from jwst.ramp_fitting import RampFitStep
from jwst_reffiles.bad_pixel_mask import badpix_from_flats
from jwst_reffiles.dark_current import badpix_from_darks
from stdatamodels.jwst import datamodels
from stdatamodels.jwst.datamodels.dqflags import pixel

Reads = npt.NDArray[np.float32]

READ_NOISE_DN = 6 * np.sqrt(2)  # of a difference of two reads, as the reference file has it
GAIN = 2.0
SECONDS = 5.0
CHANNEL = 128
FROM_FLATS = ("DEAD", "LOW_QE", "OPEN", "ADJ_OPEN")


def without_common(ramp: Reads) -> Reads:
    """Return reads without the median of each row of a channel."""
    for first in range(0, ramp.shape[-1], CHANNEL):
        part = ramp[..., first : first + CHANNEL]
        part -= np.median(part, axis=-1, keepdims=True)
    return ramp


def with_references(step: Any) -> Any:
    """Return a step of jwst that needs no reference file."""
    step.override_gain, step.override_readnoise = GAINS, NOISES
    return step


def pipeline(name: str, cube: npt.NDArray[np.uint16], ramp: Reads) -> Reads:
    """Write NAME_rateints, NAME_jump and NAME_fitopt, as jwst's pipeline does; return the rates."""
    ny, nx = cube.shape[-2:]
    model = datamodels.RampModel((1, *cube.shape))
    model.data = ramp[None]
    model.pixeldq = np.where(reference, pixel["REFERENCE_PIXEL"], 0).astype(np.uint32)
    model.groupdq = np.where(cube >= 60000, pixel["SATURATED"], 0).astype(np.uint8)[None]
    model.meta.instrument.name, model.meta.instrument.detector = "NIRCAM", "NRCA1"
    model.meta.subarray.name = "FULL"
    model.meta.subarray.fastaxis, model.meta.subarray.slowaxis = -1, 2
    model.meta.subarray.xstart = model.meta.subarray.ystart = 1
    model.meta.subarray.xsize, model.meta.subarray.ysize = nx, ny
    model.meta.exposure.frame_time = model.meta.exposure.group_time = SECONDS
    model.meta.exposure.nframes, model.meta.exposure.groupgap = 1, 0
    model.meta.exposure.ngroups, model.meta.exposure.nints = len(cube), 1
    model.meta.exposure.drop_frames1 = 0
    model.meta.exposure.integration_start = model.meta.exposure.integration_end = 1
    # Not `run`, which asks a server for the context in use.
    jumped = with_references(JumpStep()).process(model)
    jumped.save(f"{name}_jump.fits")
    fit = with_references(RampFitStep(save_opt=True, opt_name=f"{name}.fits"))
    fit.process(jumped)[1].save(f"{name}_rateints.fits")
    fits.setval(f"{name}_rateints.fits", "S_RAMP", value="COMPLETE")
    rate: Reads = fits.getdata(f"{name}_rateints.fits", "SCI")[0]
    return rate


source, target = sys.argv[1:]
data = dict(np.load(source))
reference = data["reference"]
shape = reference.shape
subarray = {"name": "FULL", "xstart": 1, "ystart": 1, "xsize": shape[1], "ysize": shape[0]}
GAINS, NOISES = datamodels.GainModel(shape), datamodels.ReadnoiseModel(shape)
GAINS.data[...], NOISES.data[...] = GAIN, READ_NOISE_DN
for model in (GAINS, NOISES):
    for key, value in subarray.items():
        setattr(model.meta.subarray, key, value)
bias = np.median(data["darks"][:, 0], axis=0).astype(np.float32)
found = {}
with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    names: list[str] = []
    rates: dict[str, list[Reads]] = {}
    for number, cube in enumerate(data["darks"]):
        pipeline(f"dark_{number}", cube, without_common(cube - bias))
        names.append(f"dark_{number}_rateints.fits")
    badpix_from_darks.find_bad_pix(names, outfile="darks.fits")
    inside = np.ix_(~reference.all(axis=1), ~reference.all(axis=0))
    parts = {"HOT": "SATURATED", "RC": "RC", "TELEGRAPH": "MANY_CRS", "UNRELIABLE_SLOPE": "NOISY"}
    with fits.open("darks.fits") as parts_file:
        for flag, part in parts.items():
            found[flag] = np.zeros(shape, bool)
            extension = parts_file[0] if part == "SATURATED" else parts_file[part]
            found[flag][inside] = extension.data != 0
    flats = []
    for level in (key for key in data if key.startswith("flats")):
        for number, cube in enumerate(data[level]):
            name = f"{level}_{number}"
            rates.setdefault(level, []).append(pipeline(name, cube, cube - bias))
            flats.append(f"{name}_rateints.fits")
    for search in ("sigma_rate", "absolute_rate"):
        mask = badpix_from_flats.find_bad_pix(
            flats,
            dead_search_type=search,
            manual_flag_file="",
            output_file=f"{folder}/mask.fits",
            quality_check=False,
        )
        for flag in FROM_FLATS:
            found[f"{flag}, {search}"] = (np.asarray(mask).astype(int) & pixel[flag]) != 0
levels = [np.median(each, axis=0) for each in rates.values()]
ratio = levels[0] / np.where(reference, 1, levels[-1])
ratio[reference] = np.median(ratio[~reference])
found["ccdmask"] = ccdmask(CCDData(ratio, unit="adu"), ncsig=21, nlsig=21)
np.savez_compressed(target, allow_pickle=False, **found)
