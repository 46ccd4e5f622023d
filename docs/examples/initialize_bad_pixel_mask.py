# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A bad-pixel mask, from a list of pixels to a flagged ramp
#
# 1. Make a mask from a list of bad pixels, by flag name.
# 2. Make one by hand, and the trap in it.
# 3. Put the mask into a CRDS cache.
# 4. Run the step `dq_init` on a ramp.
# 5. Look at the result.
#
# All data are simulated; everything is written into the current folder (about 650 MB, for IRIS
# detectors have 4096 × 4096 pixels).

# %%
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from astropy.io import fits
from matplotlib.colors import LogNorm

from tmt_dq import DQInitStep, deliver_mask, dqflags, select_mask
from tmt_dq.core.geometry import Window
from tmt_dq.datamodels import TMTMaskModel
from tmt_dq.simulate import simulate_ramp

# %% [markdown]
# ## The exposure
#
# Five reads of the corner of detector IRIS1. `Window` counts from 0 and has y first; the file's
# keywords SUBSTRT1 and SUBSTRT2 count from 1 and have x first.

# %%
corner = Window(y=0, x=0, ny=256, nx=256)
ramp = simulate_ramp("iris_0001_uncal.fits", window=corner, date="2026-11-22", seed=4)

with fits.open(ramp) as file:
    reads = file["SCI"].data[0].astype(np.int32)
    print(file["SCI"].shape, file["SCI"].data.dtype, "starts at x, y =", end=" ")
    print(file[0].header["SUBSTRT1"], file[0].header["SUBSTRT2"])

# %% [markdown]
# Here the bad pixels are found in the ramp itself; really they come from darks and flats. What
# counts is that they end up as two lists of positions.

# %%
signal = reads[-1] - reads[0]
border = 4  # pixels on each side of the detector that see no light, for reference
active = np.zeros(signal.shape, bool)
active[border:, border:] = True
hot = np.argwhere(active & (signal > 12000))
dead = np.argwhere(active & (signal < 100))
print(len(hot), "hot and", len(dead), "dead pixels; the first hot one is at y, x =", hot[0])

# %% [markdown]
# ## A mask from lists of pixels
#
# `flag_pixels` takes flags by name and pixels as `yx=` (pairs as NumPy has them, from 0), as `y=`
# and `x=`, or as `fits_xy=` (pairs as FITS and DS9 have them, from 1). It adds to the flags that a
# pixel has, and returns how many pixels it flagged. A list that leaves the detector is an error.
#
# A mask covers the whole detector. The steps of the pipeline leave out the pixels that have
# DO_NOT_USE; the other flags are the reasons.

# %%
mask = TMTMaskModel((4096, 4096))
mask.meta.instrument.name = "IRIS"
mask.meta.instrument.detector = "IRIS1"

n_hot = mask.flag_pixels("HOT, DO_NOT_USE", yx=hot)
n_dead = mask.flag_pixels("DEAD, DO_NOT_USE", yx=dead)
assert (n_hot, n_dead) == (len(hot), len(dead))

reference = np.ones(mask.dq.shape, bool)
reference[border:-border, border:-border] = False
mask.dq[reference] |= dqflags.pixel["REFERENCE_PIXEL"]

print(dqflags.pixel.count(mask.dq))

# %% [markdown]
# A mask that others use holds the date from which on it is valid, and its origin.

# %%
mask.meta.useafter = "2026-05-01T00:00:00"
mask.meta.pedigree = "SIMULATION"
mask.meta.author = "The example in the documentation of tmt-dq"
mask.meta.description = "Hot and dead pixels in the corner of IRIS1"
mask.add_history_entry("Pixels above 12000 and below 100 counts in iris_0001_uncal.fits")
path = mask.write("hot_and_dead.fits")
print(path)

# %% [markdown]
# ## A mask by hand, and the trap in it
#
# `mask.dq` is a NumPy array, and can be filled like one. Ten dead and ten hot pixels anywhere:

# %%
rng = np.random.default_rng(2)
idx = rng.integers(0, 4096, size=(10, 2))  # ten pairs (row, column)
idx2 = rng.integers(0, 4096, size=(10, 2))

f = TMTMaskModel()
f.meta.name = "IRIS"  # short for f.meta.instrument.name
f.meta.detector = "IRIS1"

# %% [markdown]
# **The trap**: `dq[idx] = 1024` does not flag ten pixels. To NumPy an array of pairs in one pair of
# brackets is a list of 20 *rows*: 20 × 4096 pixels get the flag.

# %%
dq = np.zeros((4096, 4096))
dq[idx] = 1024
dq[idx2] = 2048
counts, edges = np.histogram(dq, bins=3)
print(counts)
assert counts.tolist() == [16613376, 81920, 81920]

# %% [markdown]
# A pixel needs a list of rows and a list of columns: `tuple(idx.T)` makes them of the pairs. This
# is what `flag_pixels` does.

# %%
dq = np.zeros((4096, 4096))
dq[tuple(idx.T)] = dqflags.pixel["DEAD"]
dq[tuple(idx2.T)] = dqflags.pixel["HOT"]
f.dq = dq  # numbers with a point are taken if they are whole and fit uint32
counts, edges = np.histogram(f.dq, bins=3)
print(counts)
assert counts.tolist() == [16777196, 10, 10]
assert f.dq.dtype == np.uint32

f.write(Path("by_hand.fits"))
with fits.open("by_hand.fits") as file:
    print(file[0].header["INSTRUME"], file[0].header["DETECTOR"], file["DQ"].shape)

# %% [markdown]
# ## Into a cache
#
# A CRDS cache has references and rules that choose among them. `deliver_mask` examines the mask,
# gives it the next free name, writes new rules, tries them, and only then puts all files into
# place. With `create` a cache that is not there yet starts as a copy of the one that comes with
# tmt-dq. On the command line: `tmt-dq deliver hot_and_dead.fits --crds-path crds_cache --create`.

# %%
receipt = deliver_mask("hot_and_dead.fits", cache="crds_cache", create=True)
print(receipt.mask, "is in", receipt.context)

# %% [markdown]
# CRDS_PATH names the cache to all parts of tmt-dq. The rules choose by detector, subarray and time:
# an exposure before the mask's USEAFTER gets the mask from before.

# %%
os.environ["CRDS_PATH"] = "crds_cache"

early = simulate_ramp("iris_0000_uncal.fits", window=corner, date="2026-04-30", seed=4)
for exposure in (early, ramp):
    selection = select_mask(exposure)
    print(exposure, selection.name)
    for rule in selection.rules:
        print(f"    {rule.parkey}: {rule.required}, found {rule.found}")

assert select_mask(early).name == "tmt_iris_mask_0101.fits"
assert select_mask(ramp).name == receipt.mask

# %% [markdown]
# ## The step
#
# The step finds the mask, cuts out what belongs to the subarray, and adds its flags to PIXELDQ. The
# science data are copied byte for byte. `override_mask="by_hand.fits"` would use that mask instead.
# On the command line: `tmt-dq apply iris_0001_uncal.fits`, or
# `strun tmt-dq::dq_init iris_0001_uncal.fits`.

# %%
result = DQInitStep.call(str(ramp), save_results=True, configure_log=False)
print(result.status)

with fits.open("iris_0001_dqinit.fits") as file:
    header = file[0].header
    data = file["SCI"].data[0].astype(np.int32)
    pixeldq = file["PIXELDQ"].data
    groupdq = file["GROUPDQ"].data

for keyword in ("S_DQINIT", "R_MASK", "CRDS_CTX"):
    print(f"{keyword:8} {header[keyword]}")
print(dqflags.pixel.count(pixeldq))

# %% [markdown]
# ## The result

# %%
assert header["S_DQINIT"] == "COMPLETE"
assert header["R_MASK"] == f"crds://{receipt.mask}"
assert pixeldq.dtype == np.uint32
assert groupdq.dtype == np.uint8
assert groupdq.shape == (1, 5, 256, 256)
assert not groupdq.any()
assert np.array_equal(data, reads)
assert np.array_equal(pixeldq, mask.dq[:256, :256])
assert dqflags.pixel.decode(pixeldq[tuple(hot[0])]) == ("DO_NOT_USE", "HOT")

# %% [markdown]
# The corner of the detector without and with its flags. Pixel numbers are those of the detector,
# from 1.

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 5), layout="constrained", sharey=True)
extent = (0.5, 256.5, 0.5, 256.5)
for axes in (left, right):
    shown = axes.imshow(
        np.clip(signal, 100, None),
        norm=LogNorm(100, 20000),
        cmap="gray",
        origin="lower",
        extent=extent,
        interpolation="nearest",
    )
    axes.set_xlabel("x (pixel)")
left.set_ylabel("y (pixel)")
left.set_title("last read − first read")
right.set_title("the same, with the flags of PIXELDQ")

is_reference = (pixeldq & dqflags.pixel["REFERENCE_PIXEL"]) != 0
right.imshow(
    np.ma.masked_equal(is_reference, value=False),
    cmap="Blues",
    vmin=0,
    vmax=1.5,
    origin="lower",
    extent=extent,
    interpolation="nearest",
)
right.plot([], [], "s", color="#4a98c9", label="REFERENCE_PIXEL")
for name, colour in (("HOT", "#e8641b"), ("DEAD", "#3fd0c9")):
    y, x = np.nonzero(pixeldq & dqflags.pixel[name])
    right.plot(x + 1, y + 1, "o", mfc="none", mec=colour, ms=7, label=f"{name} ({y.size})")
right.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=3, fontsize=8, frameon=False)
right.set(xlim=extent[:2], ylim=extent[2:])
figure.colorbar(shown, ax=[left, right], label="signal (DN)", shrink=0.8)
plt.show()
