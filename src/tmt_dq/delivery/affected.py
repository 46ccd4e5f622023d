"""Which exposures a change of the rules, or of a mask, makes worth processing again."""

import functools
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

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
from tmt_dq.files.identity import Identity, digest_of, identify
from tmt_dq.fits.file import open_input
from tmt_dq.masks.mask import cut_out, read_mask
from tmt_dq.references.cache import open_cache_of, open_caches
from tmt_dq.references.selection import select_reference

_FROM_CACHE = "crds://"
_NO_RULE = "no rule"
_SAME = {_NO_RULE: "no rule matches it, before and now", "N/A": "no mask applies to it, as before"}
"""Why an exposure without a mask is not affected."""

_Cache = str | os.PathLike[str] | None
_Mask = tuple[str, Path | None]
"""What rules select: a mask's name and file; N/A or `_NO_RULE`, and None."""


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
        open_caches(*side)  # complains once, not for each exposure
    result = []
    for name in files:
        path = Path(name)
        try:
            with open_input(path) as file:
                ramp = read_ramp(file, start=subarray).ramp
            old, new = (_select(ramp, path, *side, verify=verify) for side in sides)
            result.append(_judge(path, ramp.window, old, new, flags_only=flags_only))
        except TmtDqError as error:
            reason = f"could not be judged: {error.what}"
            result.append(Effect(path, affected=True, reason=reason, error=error))
    errors = [effect.error for effect in result if effect.error is not None]
    if errors and not keep_errors:
        raise BatchError(
            f"{len(errors):,} of {len(result):,} exposures could not be judged", errors
        )
    return tuple(result)


def affected_output(
    path: Path,
    new_context: str,
    *,
    subarray: tuple[int, int] | None = None,
    crds_path: _Cache = None,
    old_crds_path: _Cache = None,
    flags_only: bool = False,
) -> Effect:
    """Find out whether an exposure gets another mask, or flags, than that which it names itself."""
    with open_input(path) as file:
        if "S_DQINIT" not in file.units[0].header:
            return Effect(path, affected=False, reason="it was not initialized yet")
        row = mask_row(file)
        if row is None:
            raise UnexplainedFlagsError(
                "was initialized, but does not say with which mask: it has no R_MASK",
                where=path,
                hint="Process the raw ramp.",
            )
        ramp = read_ramp(file, start=subarray).ramp
    name = row.name.removeprefix(_FROM_CACHE)
    if row.parameters.get("context") is None or row.name == name != "N/A":
        reason = f"its mask, {row.name}, was not chosen by rules"
        return Effect(path, affected=False, reason=reason, old=row.name)
    new = _select(ramp, path, crds_path, new_context)
    old: _Mask = name, None
    if name != "N/A" and new[1] is not None:
        # Caches that grew apart give one name to different masks: the digest tells them apart.
        if name == new[0] and row.sha256 in {"", digest_of(new[1])}:
            return Effect(path, False, f"the same file, {name}", name, name)
        context = row.parameters.get("context")
        cache, _ = open_cache_of(old_crds_path or crds_path, ramp.instrument, context)
        old = name, cache.reference(ramp.instrument.name, name)
        if row.sha256 not in {"", digest_of(old[1])}:
            reason = f"its mask was another file of the name {name}"
            return Effect(path, True, reason, name, new[0])
    return _judge(path, ramp.window, old, new, flags_only=flags_only)


def _select(
    ramp: Ramp, path: Path, crds_path: _Cache, context: str, *, verify: bool | None = None
) -> _Mask:
    """Return what rules select for an exposure."""
    try:
        selection = select_reference(
            ramp.selectors,
            instrument=ramp.instrument,
            crds_path=crds_path,
            context=context,
            where=path,
            verify=verify,
        )
    except NoMatchError:
        return _NO_RULE, None
    return selection.name or "N/A", selection.path


def _judge(path: Path, window: Window, old: _Mask, new: _Mask, *, flags_only: bool) -> Effect:
    """Compare the old and the new mask of an exposure in its window."""
    names = old[0], new[0]
    same_name = names[0] == names[1]
    if old[1] is None or new[1] is None or old[1].samefile(new[1]):
        reason = f"{names[0]} before, {names[1]} now"
        if same_name:
            reason = _SAME.get(names[0], f"the same file, {names[0]}")
        return Effect(path, not same_name, reason, *names)
    pixels = _differing((old[1], identify(old[1])), (new[1], identify(new[1])), window)
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
    for mask in masks:
        if not mask.window.contains(window):
            what = f"the mask covers {mask.window.describe()}, the exposure lies at "
            raise GeometryError(what + window.describe(), where=mask.path)
    ours, theirs = (cut_out(mask, window) for mask in masks)
    return int(np.count_nonzero(ours != theirs))
