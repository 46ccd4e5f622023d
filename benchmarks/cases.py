"""What happens in memory, piece by piece: cases in asv's form.

A class is a subject; ``setup(size)`` prepares frames of size × size, each ``time_…`` method is a
case, and those named ``time_…_reference`` are what it is held against. `benchmarks.micro` measures
time and peak memory of all of them; the test suite runs each once, small, so that none can rot.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from benchmarks.ramps import IRIS, write_ramp
from tmt_dq.core.dq_def import DefinedBit, translate, translation
from tmt_dq.core.flags import PIXEL
from tmt_dq.core.initialize import initialize
from tmt_dq.core.sources.source import FlagSource

__all__ = [
    "CASES",
    "Apply",
    "Copy",
    "Count",
    "Initialize",
    "Models",
    "Select",
    "Translate",
]

_GROUPS = 10
_DEFINED = ("DO_NOT_USE", "DEAD", "HOT", "UNRELIABLE_SLOPE", "RC", "REFERENCE_PIXEL")


def frame(size: int, share: float = 0.01, bits: int = len(_DEFINED)) -> npt.NDArray[np.uint32]:
    """Return flags of which a share is set, one of the lowest bits each."""
    generator = np.random.default_rng(20260101)
    flagged = generator.random((size, size)) < share
    return np.where(flagged, np.uint32(1) << generator.integers(0, bits, (size, size)), 0).astype(
        np.uint32
    )


class _Case:
    params: ClassVar[list[int]] = [4096]
    param_names: ClassVar[list[str]] = ["size"]


class Initialize(_Case):
    """PIXELDQ and GROUPDQ of ten reads, from a mask."""

    def setup(self, size: int) -> None:
        self.mask = frame(size)
        self.data = np.broadcast_to(np.uint16(0), (1, _GROUPS, size, size))
        self.source = FlagSource("mask", pixels=self.mask)

    def time_initialize(self, size: int) -> Any:
        return initialize(self.data, [self.source])

    def time_copied_and_filled_reference(self, size: int) -> Any:
        return self.mask.copy(), np.full((1, _GROUPS, size, size), 0, np.uint8)


class Translate(_Case):
    """DQ_DEF of six rows, 1 % of the pixels flagged."""

    def setup(self, size: int) -> None:
        self.dq = frame(size)
        names = enumerate(_DEFINED)
        self.rows = [DefinedBit(bit, 1 << bit, name) for bit, name in names]
        self.meaning = translation(self.rows)
        table = np.array(
            [(row.bit, row.value, row.name, "") for row in self.rows],
            dtype=[("BIT", "i4"), ("VALUE", "u4"), ("NAME", "U40"), ("DESCRIPTION", "U80")],
        )
        self.model = SimpleNamespace(dq=self.dq, dq_def=table)

    def time_translate(self, size: int) -> Any:
        return translate(self.dq, self.meaning)[0]

    def time_dynamic_mask_reference(self, size: int) -> Any:
        from stdatamodels.dynamicdq import dynamic_mask

        return dynamic_mask(self.model, PIXEL)


class Count(_Case):
    """Pixels per flag."""

    def setup(self, size: int) -> None:
        self.dq = frame(size, bits=32)

    def time_count(self, size: int) -> Any:
        return PIXEL.count(self.dq)

    def time_pass_per_flag_reference(self, size: int) -> Any:
        return [int(np.count_nonzero(self.dq & np.uint32(1 << bit))) for bit in range(32)]


class Select(_Case):
    """The mask's name by CRDS' rules."""

    params: ClassVar[list[int]] = [0]

    def setup(self, size: int) -> None:
        from tmt_dq.references.selection import select_reference

        self.select = select_reference
        self.select(IRIS)

    def time_warm(self, size: int) -> Any:
        return self.select(IRIS)

    def time_cold_process(self, size: int) -> None:
        """A new process that does nothing else; its memory is not counted."""
        code = (
            f"from tmt_dq.references.selection import select_reference\nselect_reference({IRIS!r})"
        )
        subprocess.run([sys.executable, "-c", code], check=True)

    def time_cold_process_import_crds_reference(self, size: int) -> None:
        subprocess.run([sys.executable, "-c", "import crds"], check=True, capture_output=True)


class _Files(_Case):
    def _folder(self) -> Path:
        self.scratch = tempfile.TemporaryDirectory()
        return Path(self.scratch.name)

    def teardown(self, size: int) -> None:
        self.scratch.cleanup()


class Models(_Files):
    """A mask as a data model."""

    def setup(self, size: int) -> None:
        from tmt_dq.datamodels import TMTMaskModel

        self.model_class = TMTMaskModel
        folder = self._folder()
        self.path, self.again = folder / "mask.fits", folder / "again.fits"
        self.model = TMTMaskModel(dq=frame(size, bits=32))
        self.model.meta.instrument.name = "IRIS"
        self.model.meta.instrument.detector = "IRIS1"
        self.model.meta.subarray.xstart = self.model.meta.subarray.ystart = 1
        self.model.save(str(self.path))

    def time_open(self, size: int) -> int:
        with self.model_class(str(self.path)) as model:
            return int(model.dq[0, 0])

    def time_save(self, size: int) -> None:
        self.again.unlink(missing_ok=True)
        self.model.save(str(self.again))


class Copy(_Files):
    """A ramp's bytes into another file, moved by 2880 as a longer header moves them."""

    def setup(self, size: int) -> None:
        from tmt_dq.files.copying import copy_range

        self.copy = copy_range
        folder = self._folder()
        ramp = folder / "ramp.fits"
        write_ramp(ramp, _GROUPS, shape=(size, size))
        self.source = os.open(ramp, os.O_RDONLY)
        self.size = ramp.stat().st_size
        self.output = folder / "output.fits"

    def teardown(self, size: int) -> None:
        os.close(self.source)
        super().teardown(size)

    def _target(self) -> int:
        self.output.unlink(missing_ok=True)
        return os.open(self.output, os.O_RDWR | os.O_CREAT)

    def time_copy_range(self, size: int) -> None:
        target = self._target()
        self.copy(self.source, 0, target, 2880, self.size, where="ramp", writeback=False)
        os.close(target)

    def time_copy_file_range_reference(self, size: int) -> None:
        target, done = self._target(), 0
        while done < self.size:
            done += os.copy_file_range(self.source, target, self.size - done, done, 2880 + done)
        os.close(target)


class Apply(_Files):
    """A file, after the first one of a process."""

    def setup(self, size: int) -> None:
        from tmt_dq.apply.apply import apply_dq

        self.apply = apply_dq
        folder = self._folder()
        self.ramp, self.output = folder / "ramp.fits", folder / "output.fits"
        write_ramp(self.ramp, _GROUPS, shape=(size, size))
        self.apply(self.ramp, self.output)

    def time_apply(self, size: int) -> None:
        self.apply(self.ramp, self.output, overwrite=True)

    def time_apply_no_sync(self, size: int) -> None:
        self.apply(self.ramp, self.output, overwrite=True, sync=False)

    def time_apply_propagate_do_not_use(self, size: int) -> None:
        self.apply(self.ramp, self.output, overwrite=True, propagate_do_not_use=True)


CASES = (Initialize, Translate, Count, Select, Models, Copy, Apply)
