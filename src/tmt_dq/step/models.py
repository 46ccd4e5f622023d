"""The step on data models: what it does to files, done to arrays and metadata in memory.

This is the part of the step that needs stdatamodels, which a path in and a path out do not.
"""

import dataclasses
import functools
from pathlib import Path

import numpy as np
from stdatamodels import DataModel

from tmt_dq.apply.options import ApplyOptions
from tmt_dq.apply.plan import Plan, choose_recipe, plan_ramp
from tmt_dq.core.flags import PIXEL
from tmt_dq.core.initialize import initialize
from tmt_dq.core.recipe import Recipe
from tmt_dq.core.sources.source import Readout
from tmt_dq.datamodels import TMTMaskModel, TMTRampModel
from tmt_dq.datamodels.definitions import convention_table, defined_bits
from tmt_dq.datamodels.model import settle_extra
from tmt_dq.errors import ConfigError, RampFormatError
from tmt_dq.exposures.dq_sources import EXTENSION, sources_array
from tmt_dq.exposures.earlier import already_initialized
from tmt_dq.exposures.ramp import Ramp, describe_ramp
from tmt_dq.exposures.readout import frame_map
from tmt_dq.exposures.record import check_meaning, place_keywords
from tmt_dq.masks.mask import Mask


def flag_model(model: DataModel, options: ApplyOptions) -> tuple[TMTRampModel, Plan]:
    """Return a flagged copy of a model, and the plan that it was flagged by."""
    # Copied first: a model made from another one shares its arrays and, in stdatamodels 5, its
    # whole tree.
    result = model.copy()
    if not isinstance(result, TMTRampModel):
        result = TMTRampModel(result)
        settle_extra(result)
    where = result.meta.filename or type(model).__name__
    if result.data is None:
        hint = "Give the step the path of the file, or open it with TMTRampModel."
        raise RampFormatError("the model has no data", where=where, hint=hint)
    ramp = describe_ramp(
        result.image_keywords(), result.data.shape, where=where, start=options.subarray
    )
    result.check_shapes()
    if result.meta.cal_step.dq_init == "COMPLETE" and not options.again:
        if options.start_over:
            raise ConfigError(
                "start_over reads the record of a file, and this is a model",
                where=where,
                hint="Give the step the path of the file.",
            )
        raise already_initialized(where, result.meta.ref_file.mask.name)
    recipe = choose_recipe(ramp.instrument, options)
    plan = plan_ramp(ramp, where, recipe, _readout(result, ramp, recipe, where), options)
    return carry_out(plan, result, where), plan


def carry_out(plan: Plan, model: TMTRampModel, where: object) -> TMTRampModel:
    """Flag a model, in place, as planned; return it."""
    name = plan.ramp.pixel_name
    if name != "PIXELDQ":
        raise RampFormatError(
            f"its pixels have their flags in {name}, and a data model in pixeldq",
            where=where,
            hint="Give the step the path of the file, and save the result as it is.",
        )
    if model.dq_def is not None:
        check_meaning(defined_bits(model.dq_def, where=where), where)
    record = plan.record
    if plan.sources:
        record = dataclasses.replace(
            record,
            pixels_before=int(np.count_nonzero(model.pixeldq)),
            groups_before=bool(model.groupdq.any()),
        )
        model.pixeldq, model.groupdq, reports = initialize(
            model.data, plan.sources, pixeldq=model.pixeldq, groupdq=model.groupdq
        )
        model.dq_def = convention_table()
        record = record.with_flags(reports, PIXEL.count(model.pixeldq))
    header = model.image_keywords()
    place = [pair for pair in place_keywords(plan.ramp) if header.get(pair[0].name) is None]
    was_initialized = header.get("S_DQINIT") is not None
    for keyword, value in (*record.keywords(before=was_initialized), *place):
        # A place in the tree, such as meta.cal_step.dq_init.
        path, _, name = keyword.model.rpartition(".")
        setattr(functools.reduce(getattr, path.split("."), model), name, value)
    # stdatamodels keeps what no schema knows under extra_fits.
    extra = model.instance.setdefault("extra_fits", {})
    extra[EXTENSION] = {"data": sources_array(record.sources)}
    for line in record.history:
        model.add_history_entry(line)
    return model


def as_mask(model: TMTMaskModel) -> Mask:
    """Return a mask model as a mask file is read."""
    window = model.window
    flags = model.dq.copy()
    flags.flags.writeable = False
    subarray = model.meta.subarray
    return Mask(
        path=Path(model.meta.filename or type(model).__name__),
        dq=flags,
        window=window,
        instrument=model.meta.instrument.name,
        detector=model.meta.instrument.detector,
        orientation=(subarray.fastaxis, subarray.slowaxis),
        placed=subarray.xstart is not None and subarray.ystart is not None,
    )


def _readout(model: TMTRampModel, ramp: Ramp, recipe: Recipe, where: object) -> Readout:
    """Return what a model says of its readout, as `read_readout` does for a file."""
    if recipe.guide_windows_from_file or recipe.missing_reads:
        raise ConfigError(
            "the recipe looks at tables of the exposure's file, which a model does not have",
            where=where,
            hint="Give the step the path of the file instead of a model.",
        )
    subarr_map = model.subarr_map
    if subarr_map is None:
        return Readout()
    place = (model.meta.subarray.id or 0, ramp.window)
    return Readout(subarr_map=frame_map(subarr_map, *place, where=f"{where}[subarr_map]"))
