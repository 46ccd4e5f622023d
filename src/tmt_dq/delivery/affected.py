"""Which exposures a change of the rules, or of a mask, makes worth processing again."""

import functools
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tmt_dq.core.geometry import Window
from tmt_dq.errors import (
    BatchError,
    GeometryError,
    NoMatchError,
    TmtDqError,
    UnexplainedFlagsError,
)
from tmt_dq.exposures.dq_sources import mask_row
from tmt_dq.exposures.ramp import Ramp, read_ramp
from tmt_dq.files.identity import Identity, identify, sha256_of
from tmt_dq.fits.file import open_input
from tmt_dq.instruments import Instrument
from tmt_dq.masks.mask import read_mask

if TYPE_CHECKING:
    from tmt_dq.references.selection import Selection

__all__ = ["Effect", "affected", "affected_output", "check_context", "recorded_mask"]

_NO_RULE = "no rule"
_SAME = {
    _NO_RULE: "no rule matches it, before and now",
    "N/A": "no mask applies to it, before and now",
}
"""Why an exposure is not affected whose mask needs no comparison."""
_FROM_CACHE = "crds://"


@dataclass(frozen=True, slots=True)
class Effect:
    """What a change means for one exposure.

    Parameters
    ----------
    path : Path
        The exposure.
    affected : bool
        Whether it must be processed again.
    reason : str
        Why, or why not.
    old, new : str
        The masks that the old and the new rules select; N/A where none applies, ``no rule`` where
        none matches, "" where it could not be found out.
    pixels : int or None
        Pixels of the exposure whose flags in the mask differ; None where that was not compared.
    error : TmtDqError or None
        Why it could not be found out; the exposure then counts as affected.
    """

    path: Path
    affected: bool
    reason: str
    old: str = ""
    new: str = ""
    pixels: int | None = None
    error: TmtDqError | None = None


def affected(  # noqa: PLR0913 - the options of the verb, keyword-only
    old_context: str,
    new_context: str,
    files: Iterable[str | os.PathLike[str]],
    *,
    crds_path: str | os.PathLike[str] | None = None,
    old_crds_path: str | os.PathLike[str] | None = None,
    flags_only: bool = False,
    keep_errors: bool = False,
    verify: bool | None = None,
    subarray: tuple[int, int] | None = None,
) -> tuple[Effect, ...]:
    """Find out which exposures get another mask, or other flags, under new rules.

    Only headers of the exposures are read; each pair of masks is compared once.

    Parameters
    ----------
    old_context, new_context : str
        CRDS contexts, such as ``tmt_0100.pmap`` and ``tmt_0101.pmap``.
    files : iterable of path
        The exposures.
    crds_path : path, optional
        CRDS cache. By default ``CRDS_PATH``, or else the cache that comes with tmt-dq.
    old_crds_path : path, optional
        CRDS cache of the old context, if it is another one: masks of the same name may then hold
        different pixels.
    flags_only : bool
        Whether an exposure that gets another mask with the same flags in its pixels counts as not
        affected. Its PIXELDQ would stay the same, its R_MASK would not.
    keep_errors : bool
        Whether exposures that cannot be judged are in the result, with their error. Otherwise
        there is an exception at the end.
    verify : bool, optional
        Whether the masks must be the files whose sha256 their caches have on record. By default
        yes, unless ``TMT_DQ_VERIFY`` is 0.
    subarray : tuple of int, optional
        1-based x and y of the first pixel on the detector, for exposures that do not say.

    Returns
    -------
    tuple of Effect
        One for each file, in their order.

    Raises
    ------
    ConfigError, SelectionError
        Raised if a cache or context makes no sense.
    BatchError
        Raised if exposures could not be judged, unless `keep_errors`.

    Examples
    --------
    >>> from tmt_dq import affected
    >>> effects = affected("tmt_0100.pmap", "tmt_0101.pmap", paths)  # doctest: +SKIP
    >>> again = [effect.path for effect in effects if effect.affected]  # doctest: +SKIP
    """
    sides = ((old_crds_path or crds_path, old_context), (crds_path, new_context))
    for side in sides:
        check_context(*side)
    result = []
    for name in files:
        path = Path(name)
        try:
            with open_input(path) as file:
                ramp = read_ramp(file, start=subarray).ramp
            old, new = (_select(ramp, path, *side, verify=verify) for side in sides)
        except TmtDqError as error:
            result.append(_unknown(path, error))
        else:
            names = _name(old), _name(new)
            masks = _path(old), _path(new)
            result.append(_judge(path, ramp.window, names, masks, flags_only=flags_only))
    errors = [effect.error for effect in result if effect.error is not None]
    if errors and not keep_errors:
        raise BatchError(f"{len(errors)} of {len(result)} exposures could not be judged", errors)
    return tuple(result)


def affected_output(
    path: Path,
    new_context: str,
    *,
    subarray: tuple[int, int] | None = None,
    crds_path: str | os.PathLike[str] | None = None,
    old_crds_path: str | os.PathLike[str] | None = None,
    flags_only: bool = False,
) -> Effect:
    """Find out whether an initialized exposure gets another mask, or other flags, under new rules.

    What counts is the mask that the exposure itself names, not what old rules would select.
    """
    with open_input(path) as file:
        header = file.units[0].header
        if "S_DQINIT" not in header:
            return Effect(path, affected=False, reason="it was not initialized yet")
        row = mask_row(file)
        if row is None:
            raise UnexplainedFlagsError(
                "was initialized, but does not say with which mask: it has no R_MASK",
                where=path,
                hint="Process the raw ramp.",
            )
        ramp = read_ramp(file, start=subarray).ramp
    name, context = row.name, row.parameters.get("context")
    if context is None or not (name == "N/A" or name.startswith(_FROM_CACHE)):
        reason = f"its mask, {name}, was not chosen by rules"
        return Effect(path, affected=False, reason=reason, old=name)
    new = _select(ramp, path, crds_path, new_context)
    names = (name.removeprefix(_FROM_CACHE), _name(new))
    if name == "N/A" or new is None or new.path is None:
        return _judge(path, ramp.window, names, (None, None), flags_only=flags_only)
    # Caches that grew apart give one name to different masks: the digest tells them apart.
    is_same = names[0] == names[1] and row.sha256 in {"", _digest(new.path, identify(new.path))}
    if is_same and new.context == context:
        return Effect(path, False, f"it was made with {context} already", *names)
    old = recorded_mask(name, ramp.instrument, old_crds_path or crds_path)
    if row.sha256 not in {"", _digest(old, identify(old))}:
        return Effect(path, True, f"its mask was another file of the name {names[0]}", *names)
    return _judge(path, ramp.window, names, (old, new.path), flags_only=flags_only)


@functools.lru_cache(maxsize=8)
def _digest(path: Path, identity: Identity | None) -> str:
    """Return the sha256 of a mask, once for as long as its identity stays the same."""
    del identity  # part of the key only
    return sha256_of(path)


def recorded_mask(
    name: str, instrument: Instrument, crds_path: str | os.PathLike[str] | None
) -> Path:
    """Return the file that R_MASK names."""
    if not name.startswith(_FROM_CACHE):
        return Path(name)
    from tmt_dq.references.cache import open_cache

    cache = open_cache(crds_path, instrument.observatory, os.environ)
    return cache.reference(instrument.name, name.removeprefix(_FROM_CACHE))


def check_context(crds_path: str | os.PathLike[str] | None, context: str) -> None:
    """Complain about a cache or context once, not for each exposure."""
    from tmt_dq.references.cache import open_cache
    from tmt_dq.references.observatories import available

    named = [name for name in available() if context.startswith(name)]
    problem: TmtDqError | None = None
    # "latest" names no observatory: it makes sense if the cache knows one that has such a context.
    for observatory in named or available():
        try:
            open_cache(crds_path, observatory, os.environ).context(context, os.environ)
        except TmtDqError as error:
            problem = error
        else:
            return
    assert problem is not None
    raise problem


def _select(
    ramp: Ramp,
    path: Path,
    crds_path: str | os.PathLike[str] | None,
    context: str,
    *,
    verify: bool | None = None,
) -> "Selection | None":
    """Return what rules select for an exposure, None if none matches."""
    from tmt_dq.references.selection import select_reference

    try:
        return select_reference(
            ramp.selectors,
            instrument=ramp.instrument,
            crds_path=crds_path,
            context=context,
            where=path,
            verify=verify,
        )
    except NoMatchError:
        return None


def _name(selection: "Selection | None") -> str:
    return _NO_RULE if selection is None else selection.name or "N/A"


def _path(selection: "Selection | None") -> Path | None:
    return None if selection is None else selection.path


def _unknown(path: Path, error: TmtDqError, old: str = "", new: str = "") -> Effect:
    return Effect(path, True, f"could not be judged: {error.what}", old, new, error=error)


def _judge(
    path: Path,
    window: Window,
    names: tuple[str, str],
    masks: tuple[Path | None, Path | None],
    *,
    flags_only: bool,
) -> Effect:
    """Compare the old and the new mask of an exposure in its window."""
    old, new = masks
    same_name = names[0] == names[1]
    if old is None or new is None or old.samefile(new):
        reason = f"{names[0]} before, {names[1]} now"
        if same_name:
            reason = _SAME.get(names[0], f"the same file, {names[0]}")
        return Effect(path, not same_name, reason, *names)
    try:
        pixels = _differing((old, identify(old)), (new, identify(new)), window)
    except TmtDqError as error:
        return _unknown(path, error, *names)
    flags = f"other flags in {pixels:,} of its pixels" if pixels else "the same flags in its pixels"
    what = f"{names[0]} is another file" if same_name else f"{names[1]} instead of {names[0]}"
    is_affected = pixels > 0 or not (same_name or flags_only)
    return Effect(path, is_affected, f"{what}, with {flags}", *names, pixels=pixels)


@functools.lru_cache(maxsize=64)
def _differing(
    old: tuple[Path, Identity | None], new: tuple[Path, Identity | None], window: Window
) -> int:
    """Count the pixels of a window in which two masks differ, once while both stay as they are."""
    masks = [read_mask(path) for path, _ in (old, new)]
    for (path, _), mask in zip((old, new), masks, strict=True):
        if not mask.window.contains(window):
            what = f"the mask covers {mask.window.describe()}, the exposure lies at "
            raise GeometryError(what + window.describe(), where=path)
    ours, theirs = (mask.dq[window.slices(mask.window)] for mask in masks)
    return int(np.count_nonzero(ours != theirs))
