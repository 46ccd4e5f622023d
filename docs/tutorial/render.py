"""Runs the pages of the tutorial and keeps the pictures that they show."""

import contextlib
import os
import re
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from PIL import Image

from page_blocks import run_blocks


def pictures(page: Path) -> list[str]:
    """Return the names of the pictures that a page shows."""
    return re.findall(r"\]\(images/([^)]+)\)", page.read_text("utf-8"))


def render(page: Path, folder: Path) -> None:
    """Run a page in an empty folder and keep its pictures."""
    with contextlib.chdir(folder):
        run_blocks(page)
    for name in pictures(page):
        # Few colours make small files; the pictures have few.
        Image.open(folder / name).convert("RGB").quantize(128).save(HERE / "images" / name)


if __name__ == "__main__":
    os.environ["MPLBACKEND"] = "agg"
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for tutorial in sorted(HERE.glob("*.md")):
        with tempfile.TemporaryDirectory(prefix="tmt-dq-tutorial-") as scratch:
            render(tutorial, Path(scratch))
            print(tutorial.name, *pictures(tutorial))
