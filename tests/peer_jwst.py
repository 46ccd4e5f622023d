"""jwst's DQ initialization as a peer, in an environment that has it and tmt-dq."""

import functools
import logging
import logging.handlers
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt

Place = Sequence[int | None]
"""SUBSTRT1, SUBSTRT2, SUBSIZE1, SUBSIZE2; None for no such keyword."""


@dataclass(frozen=True)
class Answer:
    """What jwst did: flags and S_DQINIT, or an exception, and what it logged or warned of."""

    flags: Mapping[str, npt.NDArray[Any]]
    status: str
    error: str
    log: str

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        assert not self.error, self.error
        return self.flags[name]


def ask(
    mask: Callable[[], Any], user: npt.NDArray[Any] | None, *, quick: bool, **exposure: Any
) -> Answer:
    """Run do_dqinit; with `quick`, without checks of the models, which take ten times as long."""
    from jwst.dq_init.dq_initialization import do_dqinit

    flags, status, error = {}, "", ""
    handler = logging.handlers.BufferingHandler(1000)
    handler.setLevel(logging.WARNING)
    logging.getLogger().addHandler(handler)
    checks = {"VALIDATE_ON_ASSIGNMENT": "false" if quick else "true"}
    with warnings.catch_warnings(record=True) as caught, mock.patch.dict(os.environ, checks):
        warnings.simplefilter("always")
        try:
            model = make_exposure(quick=quick, **exposure)
            done = do_dqinit(model, mask(), user_dq=None if user is None else user.copy())
            flags = {name: np.array(done[name]) for name in ("pixeldq", "groupdq")}
            status = done.meta.cal_step.dq_init
        except Exception as problem:  # noqa: BLE001 - what it is, is the answer
            error = f"{type(problem).__name__}: {problem}"
    logging.getLogger().removeHandler(handler)
    said = [record.getMessage() for record in handler.buffer]
    said += [str(warning.message) for warning in caught]
    return Answer(flags, status, error, "\n".join(said))


def make_exposure(
    shape: tuple[int, ...], place: Place, *, quick: bool, **flags: npt.NDArray[Any] | None
) -> Any:
    """Return an exposure; a quick one is always the same model."""
    model = _kept_model() if quick else _new_model()
    model.data = np.zeros(shape, np.float32)
    for name, given in flags.items():
        setattr(model, name, model.get_default(name) if given is None else given.copy())
    model.meta.exposure.type = "NRC_IMAGE"
    return placed(model, place)


def _new_model() -> Any:
    from stdatamodels.jwst import datamodels

    return datamodels.RampModel()


_kept_model = functools.cache(_new_model)


def make_mask_model(dq: npt.NDArray[Any], place: Place, rows: Sequence[Any] | None) -> Any:
    """Return a mask."""
    from stdatamodels.jwst import datamodels

    types = [("BIT", "i4"), ("VALUE", "u4"), ("NAME", "S40"), ("DESCRIPTION", "S80")]
    table = None if rows is None else np.array([(*row, "") for row in rows], types)
    return placed(datamodels.MaskModel(dq=dq.copy(), dq_def=table), place)


def placed(model: Any, place: Place) -> Any:
    """Say where a model lies on the detector; return it."""
    model.meta.instrument.name = "NIRCAM"
    for name, value in zip(("xstart", "ystart", "xsize", "ysize"), place, strict=True):
        if value is not None:
            setattr(model.meta.subarray, name, value)
    return model


def run_step(ramp: Path, mask: Path | str, user: Path | None, folder: Path) -> Path:
    """Run the step from file to file; return its output."""
    from jwst.dq_init import DQInitStep
    from stdatamodels.jwst import datamodels

    # jwst takes no file without an ASDF extension of its own.
    with datamodels.RampModel(ramp) as model:
        model.save(ramp)
    options = {} if user is None else {"user_supplied_dq": str(user)}
    folder.mkdir()
    DQInitStep.call(
        str(ramp), override_mask=str(mask), save_results=True, output_dir=str(folder), **options
    )
    (output,) = folder.glob("*.fits")
    return output
