"""Flagged pixels as boxes for SAOImage DS9.

Written as text: astropy-regions makes an object of each region, which takes minutes for what a
mask of a full frame holds. What is written can be read by it, which a test does.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tmt_dq.core.boxes import Boxes, cover
from tmt_dq.core.counts import Planes
from tmt_dq.errors import ConfigError
from tmt_dq.files.atomic import write_file
from tmt_dq.report.image import FlagImage

__all__ = ["LIMIT", "write_regions"]

LIMIT = 200_000
"""How many boxes are written at most. One percent of 4096 x 4096 pixels, all of them isolated, are
168,000 boxes, 5 MB; DS9 draws each of them anew whenever the image is moved."""


def write_regions(
    path: Path, image: FlagImage, planes: Planes, limit: int, *, overwrite: bool
) -> int:
    """Write boxes around all flagged pixels, 1-based in the image; return how many are left out.

    Neighbouring pixels of a row share a box, and so do equal stretches in consecutive rows. Red
    boxes hold defects with DO_NOT_USE, orange ones other defects, blue ones all other flagged
    pixels, for example reference pixels. The `limit` keeps the largest, first of the red ones.
    """
    if limit < 1:
        raise ConfigError(
            f"the limit is {limit} boxes; expected at least 1", hint="Leave it out, or raise it."
        )
    bad = planes.defects & planes.do_not_use
    groups = [
        ("red", cover(bad)),
        ("orange", cover(planes.defects & ~bad)),
        ("blue", cover(planes.flagged & ~planes.defects)),
    ]
    total = sum(boxes.y.size for _, boxes in groups)
    left_out = max(0, total - limit)
    # Comments end with the line, for some readers even at a semicolon.
    name = image.label.encode("unicode_escape").decode("ascii").replace(";", ",")
    place = image.window.describe().replace("–", "-").replace("×", "x")
    omitted = f", {left_out} smaller ones are left out" if left_out else ""
    lines = [
        "# Region file format: DS9 version 4.1",
        f"# Flagged pixels of {name}, in image coordinates of the array: {place} of the detector",
        f"# {total - left_out} of {total} boxes{omitted}",
        "# red: DO_NOT_USE, orange: other defects, blue: reference pixels and other flags",
        "global width=1 select=1 move=0 edit=0 delete=1",
        "image",
    ]
    room = limit
    for colour, boxes in groups:
        lines += _boxes(boxes, colour, room)
        room = max(0, room - boxes.y.size)
    write_file(path, ("\n".join(lines) + "\n").encode("ascii"), overwrite=overwrite, sync=False)
    return left_out


def _boxes(boxes: Boxes, colour: str, limit: int) -> Iterator[str]:
    """Yield boxes as DS9 writes them: centre, width, height, angle."""
    chosen = np.arange(boxes.y.size)
    if boxes.y.size > limit:
        chosen = np.sort(np.argsort(-boxes.nx * boxes.ny, kind="stable")[:limit])
    nx, ny = boxes.nx[chosen], boxes.ny[chosen]
    # The first pixel is 1 and its centre is 1.0: a box of n pixels from 0-based x on has its
    # centre at x + (n + 1) / 2.
    x, y = boxes.x[chosen] + (nx + 1) / 2, boxes.y[chosen] + (ny + 1) / 2
    for cx, cy, width, height in zip(x.tolist(), y.tolist(), nx.tolist(), ny.tolist(), strict=True):
        yield f"box({cx:g},{cy:g},{width},{height},0) # color={colour}"
