"""tmt-dq and jwst in one environment: no step hides another, and jwst goes on with our output."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np

from builders import CONVENTION, make_mask, make_ramp, peer_python
from reference_helpers import declare_context, write_rules

HEADER = {
    "TELESCOP": "JWST",
    "INSTRUME": "NIRISS",
    "DETECTOR": "NIS",
    "EXP_TYPE": "NIS_IMAGE",
    "READPATT": "NISRAPID",
    "SUBARRAY": "SUB64",
    "DATE-OBS": "2026-05-01",
    "TIME-OBS": "10:11:12.345",
    "FASTAXIS": -2,
    "SLOWAXIS": -1,
    "NINTS": 1,
    "NGROUPS": 6,
    "NFRAMES": 1,
    "GROUPGAP": 0,
    "TFRAME": 0.05,
    "TGROUP": 0.05,
}
FIT = """
import json, warnings
import numpy as np
from stdatamodels.validate import ValidationWarning
warnings.simplefilter("error", ValidationWarning)
from jwst.ramp_fitting import RampFitStep
from jwst.saturation import SaturationStep
from stdatamodels.jwst import datamodels
import tmt_dq.jwst_compat
from jwst.datamodels import TMTRampModel

def reference(kind, values, **arrays):
    model = kind(**{name: np.full((64, 64), value) for name, value in arrays.items()})
    model.meta.subarray.xstart = model.meta.subarray.ystart = 1
    model.meta.subarray.xsize = model.meta.subarray.ysize = 64
    for name in ("instrument.name", "instrument.detector"):
        model[f"meta.{name}"] = values[f"meta.{name}"]
    return model

with datamodels.RampModel("ramp_dqinit.fits") as ramp:
    saturation = SaturationStep()
    saturation.override_saturation = reference(
        datamodels.SaturationModel, ramp, data=60000.0, dq=np.uint32(0)
    )
    saturation.override_superbias = "N/A"
    ramp = saturation.run(ramp)
    fit = RampFitStep()
    fit.override_gain = reference(datamodels.GainModel, ramp, data=1.0)
    fit.override_readnoise = reference(datamodels.ReadnoiseModel, ramp, data=5.0)
    rate, _ = fit.run(ramp)
    print(json.dumps([rate.data.tolist(), rate.dq.tolist(), ramp.meta.cal_step.dq_init]))
"""


def _run(folder: Path, *words: object) -> "subprocess.CompletedProcess[str]":
    instruments = Path(__file__).parent / "instruments"
    variables = {
        "TMT_DQ_INSTRUMENTS": str(instruments),
        "CRDS_PATH": str(folder / "cache"),
        "CRDS_SERVER_URL": "https://no-server.invalid",
    }
    return subprocess.run(
        [*map(str, words)],
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_steps_of_jwst_go_on_with_our_output(folder: Path) -> None:
    """A pixel with DO_NOT_USE gets no rate; one that is WARM alone keeps it and its flag."""
    python = peer_python("jwst")
    counts = np.arange(1, 7, dtype=np.uint16)[:, None, None] * np.uint16(100)
    sci = np.broadcast_to(counts, (1, 6, 64, 64)).copy()
    make_ramp(folder / "ramp_uncal.fits", sci=sci, start=(1, 1), header=HEADER)
    mask = np.zeros((64, 64), np.uint32)
    mask[20, 30] = CONVENTION["DEAD"] | CONVENTION["DO_NOT_USE"]
    mask[40, 50] = CONVENTION["WARM"]
    own = {key: HEADER[key] for key in ("TELESCOP", "INSTRUME", "DETECTOR", "SUBARRAY")}
    make_mask(folder / "mask.fits", mask, header=own)
    rules = {("NIS", "GENERIC"): {"2015-10-01 00:00:00": "N/A"}}
    write_rules(folder / "cache", "jwst", "NIRISS", rules)
    declare_context(folder / "cache", "jwst")
    strun = python.with_name("strun")
    ambiguous = _run(folder, strun, "dq_init", "ramp_uncal.fits")
    assert "tmt-dq::dq_init" in ambiguous.stdout + ambiguous.stderr
    step = "tmt-dq::dq_init"
    done = _run(folder, strun, step, "ramp_uncal.fits", "--override_mask=mask.fits")
    assert (folder / "ramp_dqinit.fits").is_file(), done.stderr
    fitted = _run(folder, python, "-c", FIT)
    assert fitted.returncode == 0, fitted.stderr
    rate, dq, status = json.loads(fitted.stdout.splitlines()[-1])
    assert status == "COMPLETE"
    assert np.argwhere(np.isnan(np.array(rate, float))).tolist() == [[20, 30]]
    expected = np.zeros((64, 64), np.int64)
    expected[20, 30], expected[40, 50] = mask[20, 30], mask[40, 50]
    np.testing.assert_array_equal(np.array(dq, np.int64) & 0xFFFF, expected)
    # 100 DN in each group of 0.05 s.
    np.testing.assert_allclose(np.array(rate, float)[0, 0], 2000, rtol=1e-3)
