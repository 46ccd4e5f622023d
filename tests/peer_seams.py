"""A plug-in of pytest that puts our implementation behind a peer's own tests of dq_init.

It runs in the peer's environment, where tmt-dq is installed too, and knows nothing of this
project's tests: ``pytest -p peer_seams --seam jwst.core --outcomes FILE --pyargs jwst.dq_init``.
FILE gets the outcome of each test as JSON: passed, failed, or untouched where a test passed without
reaching our code.
"""

import dataclasses
import functools
import json
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tmt_dq import DQInitStep, apply_dq
from tmt_dq.core.dq_def import DefinedBit, translate, translation
from tmt_dq.core.flags import PIXEL
from tmt_dq.core.geometry import Window
from tmt_dq.core.initialize import initialize
from tmt_dq.core.recipe import GuideWindow, Recipe
from tmt_dq.core.sources import recipe_sources
from tmt_dq.core.sources.source import Exposure, FlagSource
from tmt_dq.core.values import as_flags
from tmt_dq.datamodels import TMTRampModel
from tmt_dq.instruments import load
from tmt_dq.references import select_reference

DETECTORS = {"FGS": "GUIDER1", "MIRI": "MIRIMAGE", "NIRCAM": "NRCBLONG", "NIRISS": "NIS"}
"""What jwst's tests leave out and files have."""

# What jwst's step does always and ours on request.
AS_JWST: Any = {"propagate_do_not_use": True, "user_do_not_use": "keep"}

_reached: list[str] = []
_outcomes: dict[str, str] = {}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seam", choices=sorted(SEAMS), required=True)
    parser.addoption("--outcomes", type=Path, required=True)


def pytest_configure(config: pytest.Config) -> None:
    # Before the tests are imported, and the peer's functions with them.
    SEAMS[config.getoption("--seam")]()


def pytest_runtest_setup() -> None:
    _reached.clear()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    report = yield
    name = item.nodeid.partition("::")[2]
    if not report.passed:
        _outcomes[name] = f"failed: {report.longrepr}"
    elif report.when == "call":
        _outcomes[name] = "passed" if _reached else "untouched"
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    session.config.getoption("--outcomes").write_text(json.dumps(_outcomes))


def _ours(function: Callable[..., Any]) -> Callable[..., Any]:
    """Note that a test reached one of the functions here."""

    @functools.wraps(function)
    def noted(*args: Any, **options: Any) -> Any:
        _reached.append(function.__name__)
        return function(*args, **options)

    return noted


# jwst


def _window(model: Any, shape: tuple[int, ...]) -> Window:
    place = model.meta.subarray
    return Window.from_fits(
        xstart=place.xstart or 1, ystart=place.ystart or 1, xsize=shape[-1], ysize=shape[-2]
    )


def _dq_name(model: Any) -> str:
    return "dq" if model.hasattr("dq") else "pixeldq"


@_ours
def in_arrays(output_model: Any, mask_model: Any, user_dq: Any = None) -> Any:
    """Do what jwst's do_dqinit does, with the functions of core."""
    name = _dq_name(output_model)
    window = _window(output_model, output_model.data.shape)
    covered = _window(mask_model, mask_model.dq.shape)
    mask = mask_model.dq[window.slices(covered)]
    sources = [FlagSource("mask", pixels=mask)]
    if user_dq is not None:
        sources.append(FlagSource("user_dq", pixels=as_flags(user_dq, where="user_dq")))
    shape = output_model.data.shape
    exposure = Exposure("ramp", shape, window, frame=covered, mask=mask)
    sources += recipe_sources(Recipe(propagate_do_not_use=name == "pixeldq"), exposure)
    groups = output_model.groupdq if name == "pixeldq" else None
    found = initialize(
        output_model.data, sources, pixeldq=getattr(output_model, name), groupdq=groups
    )
    setattr(output_model, name, found[0])
    if name == "pixeldq":
        output_model.groupdq = found[1]
    output_model.meta.cal_step.dq_init = "COMPLETE"
    return output_model


@_ours
def in_files(output_model: Any, mask_model: Any, user_dq: Any = None) -> Any:
    """Do it with apply_dq, from file to file."""
    from astropy.io import fits

    name = _dq_name(output_model)
    with tempfile.TemporaryDirectory() as folder:
        ramp, mask, user, output = (str(Path(folder) / f"{n}.fits") for n in "rmuo")
        model = output_model.copy()
        model.meta.instrument.detector = DETECTORS[model.meta.instrument.name]
        model.save(ramp)
        mask_model.save(mask)
        if user_dq is not None:
            fits.writeto(user, user_dq)
        apply_dq(ramp, output, mask=mask, user_dq=None if user_dq is None else user, **AS_JWST)
        setattr(output_model, name, fits.getdata(output, name.upper()))
        if name == "pixeldq":
            output_model.groupdq = fits.getdata(output, "GROUPDQ")
    output_model.meta.cal_step.dq_init = "COMPLETE"
    return output_model


class OurStep(DQInitStep):  # type: ignore[misc]  # stpipe has no types
    """Our step with what theirs does always, on models that name their detector."""

    @classmethod
    @_ours
    def call(cls, model: Any, **options: Any) -> Any:
        model = model.copy()
        model.meta.instrument.detector = DETECTORS[model.meta.instrument.name]
        return super().call(model, **AS_JWST, **options)


def in_step(output_model: Any, mask_model: Any, user_dq: Any = None) -> Any:
    """Do it with our step, on a model."""
    from astropy.io import fits

    with tempfile.TemporaryDirectory() as folder:
        options = {}
        if user_dq is not None:
            options["user_supplied_dq"] = str(Path(folder) / "user.fits")
            fits.writeto(options["user_supplied_dq"], user_dq)
        return OurStep.call(output_model, override_mask=mask_model, **options)


@_ours
def translated(model: Any, _flags: Any) -> Any:
    """Translate a mask model's bits, as its dq_def defines them."""
    rows = (DefinedBit(row["BIT"], row["VALUE"], str(row["NAME"])) for row in model.dq_def)
    return translate(model.dq, translation(rows))[0]


@_ours
def check_shapes(model: Any) -> None:
    """Check arrays as our data model does."""
    TMTRampModel(model).check_shapes()


@_ours
def selected(parameters: Any, types: Any, _observatory: str) -> dict[str, str]:
    """Select the mask for a model by our reading of the rules."""
    name = parameters["meta.instrument.name"]
    parameters = {"meta.instrument.detector": DETECTORS[name], **parameters}
    keywords = {"META.INSTRUMENT.NAME": "INSTRUME", **load(name).keywords}
    header = {word: parameters.get(parkey.lower()) for parkey, word in keywords.items()}
    assert tuple(types) == ("mask",)
    return {"mask": str(select_reference(header, where="model").path or "N/A")}


def _behind_jwst(do_dqinit: Callable[..., Any]) -> None:
    import jwst.dq_init.dq_initialization as theirs
    import stpipe.crds_client
    from stdatamodels.jwst.datamodels import model_base

    theirs.do_dqinit = do_dqinit
    stpipe.crds_client.get_multiple_reference_paths = selected
    stpipe.crds_client.get_context_used = lambda _observatory: "jwst_0001.pmap"
    if do_dqinit is in_arrays:
        model_base.dynamic_mask = translated


def _step_of_jwst() -> None:
    import jwst.dq_init

    _behind_jwst(in_step)
    jwst.dq_init.dq_initialization.check_dimensions = check_shapes
    jwst.dq_init.DQInitStep = OurStep


# romancal


def _for_roman(theirs: Callable[..., Any]) -> Callable[..., Any]:
    """Return what does as romancal's do_dqinit: their conversion of the data, our flags."""

    @_ours
    def do_dqinit(model: Any, mask: Any, expand_gw_flagging: int = 0) -> Any:
        guide = model.meta.guide_star
        x, y, end = guide.window_xstart, guide.window_ystart, guide.window_xstop
        guide.window_xstart = -1  # no window, for theirs
        output = theirs(model, None)
        guide.window_xstart = output.meta.guide_star.window_xstart = x
        frame = Window.full(*output.pixeldq.shape)
        box = Window(y, x, guide.window_ystop - y, end - x)
        recipe = Recipe(
            guide_windows=(GuideWindow(box),) if 0 <= x < frame.nx and 0 <= y < frame.ny else (),
            guide_parts=("box", "columns"),
            guide_expand=expand_gw_flagging,
        )
        exposure = Exposure("ramp", (1, *output.data.shape), frame, frame)
        sources = [
            dataclasses.replace(source, pixels=_roman_flags(source.pixels))
            for source in recipe_sources(recipe, exposure)
        ]
        if mask is not None:
            sources.append(FlagSource("mask", pixels=mask.dq))
            output.meta.cal_step.dq_init = "COMPLETE"
        output.pixeldq, groups, _ = initialize(
            output.data[None], sources, pixeldq=output.pixeldq, groupdq=output.groupdq[None]
        )
        output.groupdq = groups[0]
        return output

    return do_dqinit


def _roman_flags(pixels: Any) -> Any:
    """Return flags of guide windows in Roman's convention: GW_AFFECTED_DATA for our names."""
    unusable = np.uint32(PIXEL["DO_NOT_USE"])
    affected = np.uint32(16) * ((pixels & ~unusable) != 0).astype(np.uint32)
    return (pixels & unusable) | affected


def _behind_romancal() -> None:
    import stpipe.crds_client
    from romancal.dq_init import dq_init_step, dq_initialization  # type: ignore[import-not-found]

    ours = _for_roman(dq_initialization.do_dqinit)
    dq_initialization.do_dqinit = dq_init_step.do_dqinit = ours
    stpipe.crds_client.get_multiple_reference_paths = _no_reference
    stpipe.crds_client.get_context_used = lambda _observatory: "roman_0001.pmap"


def _no_reference(_parameters: Any, types: Any, _observatory: str) -> dict[str, str]:
    """Return what rules without a mask select: Roman's masks are ASDF, ours are FITS."""
    return dict.fromkeys(types, "N/A")


SEAMS: dict[str, Callable[[], None]] = {
    "jwst.core": lambda: _behind_jwst(in_arrays),
    "jwst.files": lambda: _behind_jwst(in_files),
    "jwst.step": _step_of_jwst,
    "romancal.core": _behind_romancal,
}
