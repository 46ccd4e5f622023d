"""Plan of an initialization: the mask and all sources that apply to an exposure.

It is the same whether the exposure is a file or a model, and however its flags are written.
"""

import dataclasses
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tmt_dq.apply.options import NOT_APPLICABLE, ApplyOptions, is_file_name
from tmt_dq.core.flags import PIXEL
from tmt_dq.core.geometry import Window
from tmt_dq.core.recipe import Recipe
from tmt_dq.core.sources import recipe_sources
from tmt_dq.core.sources.reference_pixels import lacks_border
from tmt_dq.core.sources.source import Exposure, FlagSource, Readout
from tmt_dq.errors import NoMatchError, RampFormatError
from tmt_dq.exposures.layouts import refuse_layout
from tmt_dq.exposures.ramp import Ramp, RampFile
from tmt_dq.exposures.readout import read_readout
from tmt_dq.exposures.record import Record
from tmt_dq.files.identity import digest_of, identify
from tmt_dq.files.remote import name_of
from tmt_dq.fits.encoding import read_rows
from tmt_dq.instruments import Instrument
from tmt_dq.masks.mask import Mask, check_belongs, cut_out, read_mask

if TYPE_CHECKING:
    from tmt_dq.references.selection import Selection


@dataclass(frozen=True, slots=True)
class Plan:
    """The flags that an exposure gets; everything that can be wrong with it was found."""

    ramp: Ramp
    record: Record  # as far as it is known before the flags are counted
    sources: tuple[FlagSource, ...]  # none where the step is skipped
    mask: Mask | None
    user: Mask | None  # the user's flags
    selection: "Selection | None"  # None where the caller gave the mask

    @property
    def files(self) -> list[Path]:
        """The files with flags that were read."""
        return [flags.path for flags in (self.mask, self.user) if flags is not None]

    @property
    def left_out(self) -> dict[str, Mapping[int, int]]:
        """Bits that were dropped on request, by file: bit to number of pixels."""
        given = [flags for flags in (self.mask, self.user) if flags is not None]
        return {name_of(flags.path): flags.left_out for flags in given if flags.left_out}


def plan_exposure(exposure: RampFile, options: ApplyOptions) -> Plan:
    """Return the plan for an exposure in a file."""
    recipe = choose_recipe(exposure.ramp.instrument, options)
    readout = read_readout(exposure, recipe)
    plan = plan_ramp(exposure.ramp, exposure.file.path, recipe, readout, options)
    return plan if exposure.ramp.layout is None else _fit_layout(plan, exposure, options)


def plan_ramp(
    ramp: Ramp, where: object, recipe: Recipe, readout: Readout, options: ApplyOptions
) -> Plan:
    """Return the plan for an exposure, however it is held; `where` names it in errors."""
    selection, mask, name, missing = _find_mask(ramp, where, options)
    user = _read_user(ramp, options)
    for flags in (mask, user):
        if flags is not None:
            check_belongs(flags, ramp, where=where)
    sources: list[FlagSource] = []
    if missing is None or options.if_no_mask == "continue":
        exposure = Exposure(
            name=where,
            shape=ramp.shape,
            window=ramp.window,
            frame=Window.full(*ramp.detector.shape),
            border=ramp.detector.reference_border,
            mask=None if mask is None else cut_out(mask, ramp.window),
            readout=readout,
        )
        if mask is not None:
            remarks = (*_left_out(mask), *lacks_border(recipe, exposure))
            sources.append(FlagSource("mask", name, exposure.mask, remarks=remarks))
        if user is not None:
            sources.append(_user_source(user, ramp, options))
        sources += recipe_sources(recipe, exposure)
    record = Record(
        status="COMPLETE" if sources else "SKIPPED",
        mask=name,
        sha256=_mask_sha256(selection, mask),
        context=None if selection is None else selection.context,
        crds_version=None if selection is None else selection.crds_version,
        lines=() if missing is None else (f"no mask: {missing.what.splitlines()[0]}",),
    )
    return Plan(ramp, record, tuple(sources), mask, user, selection)


def _fit_layout(plan: Plan, exposure: RampFile, options: ApplyOptions) -> Plan:
    """Return a plan with remarks on flags that a layout has no room for."""
    unit, pixeldq, where = exposure.groupdq, exposure.pixeldq, exposure.file.path
    assert unit is not None
    looking = [source.kind for source in plan.sources if source.look is not None]
    if looking:
        hint = "Leave the option out: reads of other layouts are not looked at."
        refuse_layout(plan.ramp.layout, ", ".join(looking), where=where, hint=hint)
    kept = np.uint32((1 << unit.bitpix) - 1)
    lost: Counter[str] = Counter()

    def remarks(pixels: npt.NDArray[np.uint32] | None) -> tuple[str, ...]:
        counts = {} if pixels is None else PIXEL.count(pixels & ~kept)
        counts.pop("GOOD", None)
        lost.update(counts)
        listing = ", ".join(f"{number:,} {flag}" for flag, number in counts.items())
        return (f"not in {unit.name}, which has {unit.bitpix} bits: {listing}",) * bool(counts)

    sources = tuple(
        dataclasses.replace(source, remarks=(*source.remarks, *remarks(source.pixels)))
        for source in plan.sources
    )
    lines = plan.record.lines
    if sources and pixeldq is not None:
        before = remarks(read_rows(exposure.file, pixeldq, 0, pixeldq.shape[0]))
        lines = (*lines, *(f"flags before, {remark}" for remark in before))
    if lost and options.dq_bits == "all":
        listing = ", ".join(f"{flag} of {number:,} pixels" for flag, number in lost.items())
        raise RampFormatError(
            f"its own flags, {unit.name}, have {unit.bitpix} bits, without room for {listing}",
            where=where,
            hint="--dq-bits low16 (dq_bits='low16') leaves these out there, and records it; "
            "PIXELDQ has them all.",
        )
    record = dataclasses.replace(plan.record, lines=lines)
    return dataclasses.replace(plan, sources=sources, record=record)


def choose_recipe(instrument: Instrument, options: ApplyOptions) -> Recipe:
    """Return the caller's recipe, or the instrument's with what the caller changes."""
    recipe = options.recipe
    if not isinstance(recipe, Recipe):
        recipe = instrument.recipe.changed(recipe or {})
    if options.propagate_do_not_use is None:
        return recipe
    return dataclasses.replace(recipe, propagate_do_not_use=options.propagate_do_not_use)


def _find_mask(
    ramp: Ramp, where: object, options: ApplyOptions
) -> tuple["Selection | None", Mask | None, str, NoMatchError | None]:
    """Find and read the mask, from the caller or by the rules; return the value of R_MASK too."""
    given = options.mask
    if isinstance(given, Mask):
        return None, given, str(given.path), None
    if is_file_name(given):
        file = Path(given)
        return None, read_mask(file, unknown=options.unknown), name_of(file.absolute()), None
    if given is not None:
        return None, None, NOT_APPLICABLE, None
    from tmt_dq.references.selection import select_reference

    try:
        selection = select_reference(
            ramp.selectors,
            instrument=ramp.instrument,
            crds_path=None if options.crds_path is None else Path(options.crds_path),
            context=options.context,
            where=where,
        )
    except NoMatchError as error:
        if options.if_no_mask == "error":
            raise
        return None, None, NOT_APPLICABLE, error
    path = selection.path
    mask = None if path is None else read_mask(path, unknown=options.unknown)
    return selection, mask, selection.uri, None


def _mask_sha256(selection: "Selection | None", mask: Mask | None) -> str:
    """Return the digest of the mask's file: the cache's own record, where there is one."""
    if selection is not None and selection.sha256 is not None:
        return selection.sha256
    if mask is None or identify(mask.path) is None:
        return ""
    return digest_of(mask.path)


def _read_user(ramp: Ramp, options: ApplyOptions) -> Mask | None:
    if options.user_dq is None:
        return None
    from tmt_dq.masks.formats import read_user_flags

    return read_user_flags(
        Path(options.user_dq),
        ramp,
        unknown=options.unknown,
        reading=options.user_reading,
        do_not_use=options.user_do_not_use,
    )


def _user_source(user: Mask, ramp: Ramp, options: ApplyOptions) -> FlagSource:
    """Return the user's flags as a source, with what is needed to read their file again."""
    parameters: dict[str, object] = {"sha256": digest_of(user.path)}
    if options.user_reading is not None:
        given = dataclasses.asdict(options.user_reading)
        parameters |= {name: value for name, value in given.items() if value not in (None, "error")}
    policy = options.user_do_not_use
    if policy != "instrument":
        parameters["do_not_use"] = policy if isinstance(policy, str) else list(policy)
    remarks = (*_left_out(user), *user.remarks)
    flags = cut_out(user, ramp.window)
    return FlagSource("user DQ", user.path.name, flags, parameters, remarks=remarks)


def _left_out(flags: Mask) -> tuple[str, ...]:
    """Describe the bits of a file that were left out on request: the output must not hide it."""
    bits = flags.left_out
    return tuple(f"bit {bit} of {number:,} pixels left out" for bit, number in bits.items())
