"""Draws README's picture: a raw ramp, and the flags that `tmt_dq.apply_dq` gives it."""

import tempfile
from pathlib import Path

import numpy as np
from astropy.io import fits
from matplotlib.colors import PowerNorm

from tmt_dq import Window, apply_dq, dqflags, make_mask
from tmt_dq.report import panels
from tmt_dq.report.figures import new_figure, save_figure
from tmt_dq.simulate import simulate_ramp

TARGET = Path(__file__).with_name("ramp-to-flags.png")
CORNER = Window(0, 0, 128, 128)
SEED = 9
CLASSES = [("REFERENCE_PIXEL", "#9aa5b1"), ("DEAD", "#1f4e9c"), ("HOT", "#d1495b")]


def flag(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the last read of a ramp, and its flags after a mask of its bad pixels was applied."""
    # A seed without stars as bright as a hot pixel: a keeper of masks would look at darks.
    ramp = simulate_ramp(folder / "ramp.fits", window=CORNER, ngroups=8, seed=SEED)
    reads = fits.getdata(ramp)[0].astype(float)
    slopes = (reads[-1] - reads[0]) / (len(reads) - 1)  # DN per read; the sky gives 60 and more
    mask = np.zeros((4096, 4096), np.uint32)
    here = mask[CORNER.slices(Window.full(*mask.shape))]
    here[slopes > 3500] = dqflags.pixel.encode("DO_NOT_USE, HOT")
    here[slopes < 20] = dqflags.pixel.encode("DO_NOT_USE, DEAD")
    border = np.ones(mask.shape, bool)
    border[4:-4, 4:-4] = False
    mask[border] = dqflags.pixel["REFERENCE_PIXEL"]
    make_mask(mask, folder / "mask.fits", detector="IRIS1")
    apply_dq(ramp, folder / "flagged.fits", mask=folder / "mask.fits")
    return reads[-1], fits.getdata(folder / "flagged.fits", "PIXELDQ")


def draw(raw: np.ndarray, dq: np.ndarray) -> None:
    """Draw counts and flags side by side."""
    classes = np.zeros(dq.shape, np.uint8)
    for number, (name, _) in enumerate(CLASSES, start=1):
        classes[(dq & np.uint32(dqflags.pixel[name])) != 0] = number
    figure = new_figure(9, 4.4, "")
    left, right = figure.subplots(1, 2)
    # Drawn as the flags are, so that pixels lie side by side.
    extent = (0.5, CORNER.nx + 0.5, 0.5, CORNER.ny + 0.5)
    stretch = PowerNorm(0.5, vmin=2000, vmax=12000, clip=True)
    left.imshow(raw, origin="lower", extent=extent, cmap="gray", norm=stretch)
    left.set_title("a raw ramp (its last read)")
    panels.draw_classes(right, classes, CORNER, CLASSES, title="its PIXELDQ after tmt-dq apply")
    left.set(xlim=right.get_xlim(), ylim=right.get_ylim())
    for axes in (left, right):
        axes.set(xlabel="", ylabel="", xticks=[], yticks=[])
    places = {"xycoords": "axes fraction", "textcoords": "axes fraction"}
    style = {"arrowstyle": "-|>", "linewidth": 2, "mutation_scale": 22, "color": "black"}
    right.annotate("", (-0.01, 0.5), (-0.13, 0.5), arrowprops=style, **places)
    save_figure(figure, TARGET, overwrite=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="tmt-dq-readme-") as scratch:
        draw(*flag(Path(scratch)))
    print(TARGET)
