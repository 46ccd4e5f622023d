"""What applies to an exposure: the mask, the user's flags and the other sources.

Every face asks here, whether the exposure is a file or a model: `tmt_dq.apply_dq`, the step, and
what initializes exposures again.
"""

import dataclasses
import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tmt_dq.core.dq_def import Unknown
from tmt_dq.core.exposure import Exposure, Readout
from tmt_dq.core.geometry import Window
from tmt_dq.core.recipe import Recipe
from tmt_dq.core.sources import recipe_sources
from tmt_dq.core.sources.source import FlagSource
from tmt_dq.errors import ConfigError, NoMatchError
from tmt_dq.exposures.ramp import Ramp
from tmt_dq.exposures.record import Record
from tmt_dq.instruments import Instrument
from tmt_dq.masks.mask import Mask, check_belongs, cut_out, read_mask
from tmt_dq.masks.reading import Reading

if TYPE_CHECKING:
    from tmt_dq.references.selection import Selection

__all__ = [
    "NOT_APPLICABLE",
    "IfNoMask",
    "PathLike",
    "Plan",
    "Request",
    "choose_recipe",
    "gather_sources",
]

PathLike = str | os.PathLike[str]
IfNoMask = Literal["error", "skip", "continue"]

NOT_APPLICABLE = "N/A"
"""What is given instead of a mask, and recorded, where none applies."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done to an exposure; everything that can be wrong with it was found.

    Parameters
    ----------
    ramp : Ramp
        The exposure.
    record : Record
        The outcome, for the headers, as far as it is known before the flags are counted.
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


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for an exposure, however it is held and its result is written.

    Parameters
    ----------
    mask, user_dq, user_reading, recipe, propagate_do_not_use, if_no_mask, unknown, crds_path, context
        As in `tmt_dq.apply_dq`.
    """  # noqa: E501 - one line of names

    mask: PathLike | Mask | None = None
    user_dq: PathLike | None = None
    user_reading: Reading | None = None
    recipe: Recipe | Mapping[str, object] | None = None
    propagate_do_not_use: bool | None = None
    if_no_mask: IfNoMask = "error"
    unknown: Unknown = "error"
    crds_path: str | os.PathLike[str] | None = None
    context: str | None = None

    def plan(self, ramp: Ramp, where: object, readout: Callable[[Recipe], Readout]) -> Plan:
        """Find out what applies to an exposure.

        Parameters
        ----------
        ramp : Ramp
            The exposure.
        where : object
            Its file, named in errors.
        readout : callable
            Tells what the exposure says of its readout, as far as a recipe needs it.

        Returns
        -------
        Plan
            What is to be done.

        Raises
        ------
        TmtDqError
            Raised as by `tmt_dq.apply_dq`.
        """
        recipe = choose_recipe(
            ramp.instrument, self.recipe, propagate_do_not_use=self.propagate_do_not_use
        )
        selection, mask, missing = self._find_mask(ramp, where)
        user = None
        if self.user_dq is not None:
            from tmt_dq.masks.user_flags import read_user_flags

            user = read_user_flags(
                Path(self.user_dq),
                ramp,
                unknown=self.unknown,
                reading=self.user_reading,
            )
        name = _mask_name(selection, self.mask)
        sources: list[FlagSource] = []
        if missing is None or self.if_no_mask == "continue":
            sources = gather_sources(
                ramp, where, mask, name, user, recipe=recipe, readout=readout(recipe)
            )
        record = Record(
            status="COMPLETE" if sources else "SKIPPED",
            mask=name,
            context=None if selection is None else selection.context,
            crds_version=None if selection is None else selection.crds_version,
            lines=() if missing is None else (f"no mask: {missing.what.splitlines()[0]}",),
        )
        return Plan(ramp, record, tuple(sources), mask, user, selection)

    def _find_mask(
        self, ramp: Ramp, where: object
    ) -> tuple["Selection | None", Mask | None, NoMatchError | None]:
        """Find and read the mask, from the caller or from the rules."""
        selection = None
        if isinstance(self.mask, Mask):
            mask = self.mask
        elif self.mask is not None:
            if str(self.mask).strip().upper() == NOT_APPLICABLE:
                return None, None, None
            mask = read_mask(Path(self.mask), unknown=self.unknown)
        else:
            from tmt_dq.references.selection import select_reference

            try:
                selection = select_reference(
                    ramp.selectors,
                    instrument=ramp.instrument,
                    crds_path=None if self.crds_path is None else Path(self.crds_path),
                    context=self.context,
                    where=where,
                )
            except NoMatchError as error:
                if self.if_no_mask == "error":
                    raise
                return None, None, error
            if selection.path is None:
                return selection, None, None
            mask = read_mask(selection.path, unknown=self.unknown)
        check_belongs(mask, ramp, where=where)
        return selection, mask, None


def choose_recipe(
    instrument: Instrument,
    recipe: Recipe | Mapping[str, object] | None,
    *,
    propagate_do_not_use: bool | None = None,
) -> Recipe:
    """Return the recipe to follow.

    Parameters
    ----------
    instrument : Instrument
        The exposure's instrument.
    recipe : Recipe, mapping or None
        The caller's recipe; or what is different from the instrument's, by field.
    propagate_do_not_use : bool or None
        The caller's own word on that, which wins.

    Returns
    -------
    Recipe
        The recipe.

    Raises
    ------
    ConfigError
        Raised if the mapping has a field that recipes do not have.
    """
    if isinstance(recipe, Recipe):
        chosen = recipe
    else:
        known = [entry.name for entry in dataclasses.fields(Recipe)]
        unknown = sorted(set(recipe or {}) - set(known))
        if unknown:
            raise ConfigError(
                f"a recipe has no {', '.join(unknown)}; expected some of {', '.join(known)}"
            )
        chosen = dataclasses.replace(instrument.recipe, **(recipe or {}))  # type: ignore[arg-type]
    if propagate_do_not_use is None:
        return chosen
    return dataclasses.replace(chosen, propagate_do_not_use=propagate_do_not_use)


def _mask_name(selection: "Selection | None", mask: PathLike | Mask | None) -> str:
    """Return what R_MASK says."""
    if selection is not None:
        return selection.uri
    if isinstance(mask, Mask):
        return str(mask.path)
    text = NOT_APPLICABLE if mask is None else str(mask).strip()
    return NOT_APPLICABLE if text.upper() == NOT_APPLICABLE else str(Path(text).absolute())


def gather_sources(
    ramp: Ramp,
    where: object,
    mask: Mask | None,
    mask_name: str,
    user: Mask | None,
    *,
    recipe: Recipe | None = None,
    readout: Readout | None = None,
) -> list[FlagSource]:
    """Return the sources that apply to an exposure, in their order.

    Parameters
    ----------
    ramp : Ramp
        The exposure.
    where : object
        Its file, named in errors.
    mask : Mask or None
        The mask reference.
    mask_name : str
        What R_MASK says.
    user : Mask or None
        The user's flags.
    recipe : Recipe, optional
        Which other sources run.
    readout : Readout, optional
        What the exposure's file says of its readout.

    Returns
    -------
    list of FlagSource
        Flags of the exposure's window.

    Raises
    ------
    GeometryError
        Raised if a source does not cover the data.
    MaskFormatError
        Raised if the mask or the user's flags are for another detector.
    """
    sources = []
    for flags in (mask, user):
        if flags is not None:
            check_belongs(flags, ramp, where=where)
    mask_flags = None
    if mask is not None:
        mask_flags = cut_out(mask, ramp.window)
        stored = mask.stored if mask.window == ramp.window else None
        sources.append(
            FlagSource(
                "mask",
                mask_name,
                mask_flags,
                remarks=_left_out(mask),
                counts=None if stored is None else stored.counts,
                stored=stored,
            )
        )
    if user is not None:
        with user.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        user_flags = cut_out(user, ramp.window)
        parameters = {"sha256": digest}
        remarks = _left_out(user)
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
        readout=Readout() if readout is None else readout,
    )
    return sources + recipe_sources(Recipe() if recipe is None else recipe, exposure)


def _left_out(flags: Mask | None) -> tuple[str, ...]:
    """Say which bits of a file were left out on request: the output must not hide it."""
    bits = {} if flags is None else flags.left_out
    return tuple(f"bit {bit} of {number} pixels left out" for bit, number in bits.items())
