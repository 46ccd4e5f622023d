"""Flagged pixels as boxes for SAOImage DS9.

Written as text: astropy-regions makes an object of each region, which takes minutes for what a
mask of a full frame holds. What is written can be read by it, which a test does.
"""

from pathlib import Path

import numpy as np

from tmt_dq.core.boxes import cover
from tmt_dq.files.atomic import write_file
from tmt_dq.report.colours import Classes


def write_regions(path: Path, label: str, classes: Classes, *, overwrite: bool) -> Path:
    """Write boxes around classified pixels, 1-based in the image.

    Neighbouring pixels of a row and class share a box, and so do equal stretches in consecutive
    rows.
    """
    boxes = cover(classes.pixels)
    kind = classes.pixels[boxes.y, boxes.x] - 1
    order = np.lexsort((boxes.x, boxes.y, kind))
    # Comments end with the line, for some readers even at a semicolon.
    name = label.encode("unicode_escape").decode("ascii").replace(";", ",")
    place = classes.window.describe().replace("–", "-").replace("×", "x")
    legend = (f"{colour}: {name}" for name, _, colour in classes.bars)
    lines = [
        "# Region file format: DS9 version 4.1",
        f"# Flagged pixels of {name}, in image coordinates of the array: {place} of the detector",
        f"# {len(boxes)} boxes",
        f"# {', '.join(legend)}",
        "global width=1 select=1 move=0 edit=0 delete=1",
        "image",
    ]
    styles = [
        f"# color={colour} tag={{{name}}}"
        for colour, name in zip(classes.colours, classes.names, strict=True)
    ]
    # The first pixel is 1 and its centre is 1.0: a box of n pixels from 0-based x on has its
    # centre at x + (n + 1) / 2.
    x, y = boxes.x + (boxes.nx + 1) / 2, boxes.y + (boxes.ny + 1) / 2
    columns = (x, y, boxes.nx, boxes.ny, kind)
    lines += [
        f"box({cx:g},{cy:g},{width},{height},0) {styles[style]}"
        for cx, cy, width, height, style in zip(
            *(column[order].tolist() for column in columns), strict=True
        )
    ]
    write_file(path, ("\n".join(lines) + "\n").encode("ascii"), overwrite=overwrite, sync=False)
    return path
