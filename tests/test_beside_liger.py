"""liger_iris_pipeline's own code on our output: files are the way between the two environments."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from builders import CONVENTION, data_unit, make_mask, peer_python
from page_blocks import blocks
from tmt_dq import apply_dq

WRITE = """
import numpy as np
from liger_iris_pipeline.datamodels import RampModel

reads = np.arange(100, 600, 100, dtype=np.uint16)
model = RampModel(
    times=np.tile(np.arange(1.0, 6.0), (2, 1)),
    data=np.broadcast_to(reads, (24, 32, 2, 5)).copy(),
    dq=np.zeros((24, 32, 2, 5), np.uint16),
)
meta = model.meta
meta.telescope, meta.data_level = "TMT", 0
meta.instrument.name, meta.instrument.detector, meta.instrument.mode = "IRIS", "IMG1", "IMG"
meta.exposure.datetime_start = "20260501101112"
meta.subarray.name, meta.subarray.id = "CUSTOM", 1
meta.subarray.xstart, meta.subarray.ystart = 101, 201
meta.subarray.xsize, meta.subarray.ysize = 32, 24
meta.subarray.fastaxis, meta.subarray.slowaxis = 0, 1
model.save("ramp.fits")
"""
PAGE = Path(__file__).parents[1] / "docs/how_to/pipelines.md"
SHOW = """
import json
kind = type(model).__name__
print(json.dumps([kind, model.meta.drs_step.dq_init, model.dq.tolist(), rate.dq.tolist()]))
model.save("saved.fits")
"""


def _run(folder: Path, code: str) -> Any:
    done = subprocess.run(
        [peer_python("liger"), "-c", code],
        cwd=folder,
        env={**os.environ, "CRDS_SERVER_URL": "https://no-server.invalid"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1]) if done.stdout else None


def test_its_ramp_fit_honours_do_not_use(folder: Path) -> None:
    """What it writes is flagged, opened by its RampModel and fitted, by the code of our page."""
    (code,) = (block.text for block in blocks(PAGE) if "liger_iris_pipeline import" in block.text)
    _run(folder, WRITE)
    raw = code.replace("ramp_dqinit", "ramp")
    assert not np.any(_run(folder, raw + SHOW)[3])
    mask = np.zeros((24, 32), np.uint32)
    mask[3, 4] = CONVENTION["DEAD"] | CONVENTION["DO_NOT_USE"]
    mask[7, 8] = CONVENTION["OPEN"] | CONVENTION["DO_NOT_USE"]
    header = {"SUBSTRT1": 101, "SUBSTRT2": 201}
    make_mask(folder / "mask.fits", mask, header=header)
    apply_dq(folder / "ramp.fits", mask=folder / "mask.fits", dq_bits="low16")
    kind, status, samples, rate = _run(folder, code + SHOW)
    assert (kind, status) == ("RampModel", "COMPLETE")
    low = (mask & 0xFFFF)[:, :, None, None]
    np.testing.assert_array_equal(samples, np.broadcast_to(low, (24, 32, 2, 5)))
    np.testing.assert_array_equal(np.array(rate) & CONVENTION["DO_NOT_USE"], mask != 0)
    assert data_unit(folder / "ramp_dqinit.fits", "DATA") == data_unit(folder / "ramp.fits", "DATA")
    np.testing.assert_array_equal(fits.getdata(folder / "saved.fits", "PIXELDQ"), mask)
