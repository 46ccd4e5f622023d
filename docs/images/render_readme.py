"""Runs the demo and keeps its picture as README's, with few colours so that it is small."""

import contextlib
import tempfile
from pathlib import Path

from PIL import Image

from tmt_dq.demo import plan_demo, run_demo

TARGET = Path(__file__).with_name("ramp-to-flags.png")

if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="tmt-dq-readme-") as scratch:
        demo = plan_demo(Path(scratch), ngroups=5)
        run_demo(demo, ngroups=5, watch=lambda _name, _size: contextlib.nullcontext())
        Image.open(demo.picture).convert("RGB").quantize(128).save(TARGET, optimize=True)
    print(TARGET)
