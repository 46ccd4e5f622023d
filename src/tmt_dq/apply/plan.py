"""Plan of an initialization: the mask and all sources that apply to an exposure.

It is the same whether the exposure is a file or a model, and however its flags are written.
"""

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tmt_dq.apply.options import NOT_APPLICABLE, ApplyOptions, is_file_name
from tmt_dq.core.exposure import Exposure, Readout
from tmt_dq.core.geometry import Window
from tmt_dq.core.recipe import Recipe
from tmt_dq.core.sources import recipe_sources
from tmt_dq.core.sources.source import FlagSource
from tmt_dq.errors import NoMatchError
from tmt_dq.exposures.earlier import check_earlier, without_earlier
from tmt_dq.exposures.ramp import Ramp, RampFile
from tmt_dq.exposures.readout import read_readout
from tmt_dq.exposures.record import Record
from tmt_dq.files.identity import Identity, identify, sha256_of
from tmt_dq.files.remote import name_of
from tmt_dq.instruments import Instrument
from tmt_dq.masks.mask import Mask, check_belongs, cut_out, read_mask
from tmt_dq.masks.reading import Reading

if TYPE_CHECKING:
    from tmt_dq.references.selection import Selection

__all__ = ["Plan", "begin_again", "choose_recipe", "gather_sources", "plan_exposure", "plan_ramp"]


@dataclass(frozen=True, slots=True)
class Plan:
    """The flags that an exposure gets; everything that can be wrong with it was found.

    Parameters
    ----------
    ramp : Ramp
        The exposure.
    record : Record
        The outcome, as far as it is known before the flags are counted.
    sources : tuple of FlagSource
        What adds flags; none where the step is skipped.
    mask, user : Mask or None
        The mask, and the user's flags.
    selection : Selection or None
        How CRDS' rules chose the mask; None where the caller gave it.
    """

    ramp: Ramp
    record: Record
    sources: tuple[FlagSource, ...]
    mask: Mask | None
    user: Mask | None
    selection: "Selection | None"

    @property
    def files(self) -> list[Path]:
        """The files with flags that were read."""
        return [flags.path for flags in (self.mask, self.user) if flags is not None]

    @property
    def left_out(self) -> dict[str, Mapping[int, int]]:
        """Bits that were dropped on request, by file: bit to number of pixels."""
        given = [flags for flags in (self.mask, self.user) if flags is not None]
        return {name_of(flags.path): flags.left_out for flags in given if flags.left_out}


def begin_again(exposure: RampFile, options: ApplyOptions) -> RampFile:
    """Return an exposure as it is to be initialized: AlreadyInitializedError, or as options say."""
    if options.start_over:
        return without_earlier(exposure)
    if not options.again:
        check_earlier(exposure)
    return exposure


def plan_exposure(exposure: RampFile, options: ApplyOptions) -> Plan:
    """Return the plan for an exposure in a file."""
    recipe = choose_recipe(exposure.ramp.instrument, options)
    readout = read_readout(exposure, recipe)
    return plan_ramp(exposure.ramp, exposure.file.path, recipe, readout, options)


def plan_ramp(
    ramp: Ramp, where: object, recipe: Recipe, readout: Readout, options: ApplyOptions
) -> Plan:
    """Return the plan for an exposure, however it is held; `where` names it in errors."""
    selection, mask, missing = _find_mask(ramp, where, options)
    user = None
    if options.user_dq is not None:
        from tmt_dq.masks.user_flags import read_user_flags

        user = read_user_flags(
            Path(options.user_dq),
            ramp,
            unknown=options.unknown,
            reading=options.user_reading,
            do_not_use=options.user_do_not_use,
        )
    name = _mask_name(selection, options)
    sources: list[FlagSource] = []
    if missing is None or options.if_no_mask == "continue":
        reading = options.user_reading
        sources = gather_sources(ramp, where, mask, name, user, recipe, readout, reading)
    record = Record(
        status="COMPLETE" if sources else "SKIPPED",
        mask=name,
        sha256=_mask_sha256(selection, mask),
        context=None if selection is None else selection.context,
        crds_version=None if selection is None else selection.crds_version,
        lines=() if missing is None else (f"no mask: {missing.what.splitlines()[0]}",),
    )
    return Plan(ramp, record, tuple(sources), mask, user, selection)


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
) -> tuple["Selection | None", Mask | None, NoMatchError | None]:
    """Find and read the mask, from the caller or from the rules."""
    selection = None
    if isinstance(options.mask, Mask):
        mask = options.mask
    elif is_file_name(options.mask):
        mask = read_mask(Path(options.mask), unknown=options.unknown)
    elif options.mask is not None:
        return None, None, None
    else:
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
            return None, None, error
        if selection.path is None:
            return selection, None, None
        mask = read_mask(selection.path, unknown=options.unknown)
    check_belongs(mask, ramp, where=where)
    return selection, mask, None


def _mask_name(selection: "Selection | None", options: ApplyOptions) -> str:
    """Return the value of R_MASK."""
    if selection is not None:
        return selection.uri
    if isinstance(options.mask, Mask):
        return str(options.mask.path)
    if is_file_name(options.mask):
        return name_of(Path(str(options.mask).strip()).absolute())
    return NOT_APPLICABLE


def _mask_sha256(selection: "Selection | None", mask: Mask | None) -> str:
    """Return the digest of the mask's file: the cache's own record, where there is one."""
    if selection is not None and selection.sha256 is not None:
        return selection.sha256
    identity = None if mask is None else identify(mask.path)
    return "" if mask is None or identity is None else _sha256(mask.path, identity)


@functools.lru_cache(maxsize=8)
def _sha256(path: Path, identity: Identity) -> str:
    del identity  # part of the key only
    return sha256_of(path)


def gather_sources(
    ramp: Ramp,
    where: object,
    mask: Mask | None,
    mask_name: str,
    user: Mask | None,
    recipe: Recipe,
    readout: Readout,
    reading: Reading | None = None,
) -> list[FlagSource]:
    """Return the sources that apply to an exposure, in their order."""
    sources = []
    for flags in (mask, user):
        if flags is not None:
            check_belongs(flags, ramp, where=where)
    mask_flags = None
    if mask is not None:
        mask_flags = cut_out(mask, ramp.window)
        sources.append(FlagSource("mask", mask_name, mask_flags, remarks=_left_out(mask)))
    if user is not None:
        user_flags = cut_out(user, ramp.window)
        # What is needed to read the file again.
        parameters = {"sha256": sha256_of(user.path)}
        given = {} if reading is None else dataclasses.asdict(reading)
        parameters |= {name: value for name, value in given.items() if value not in (None, "error")}
        remarks = (*_left_out(user), *user.remarks)
        sources.append(
            FlagSource("user DQ", user.path.name, user_flags, parameters, remarks=remarks)
        )
    exposure = Exposure(
        name=where,
        shape=ramp.shape,
        window=ramp.window,
        frame=Window.full(*ramp.detector.shape),
        reference_border=ramp.detector.reference_border,
        mask=mask_flags,
        readout=readout,
    )
    return sources + recipe_sources(recipe, exposure)


def _left_out(flags: Mask) -> tuple[str, ...]:
    """Describe the bits of a file that were left out on request: the output must not hide it."""
    bits = flags.left_out
    return tuple(f"bit {bit} of {number:,} pixels left out" for bit, number in bits.items())
