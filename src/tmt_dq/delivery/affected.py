"""Which exposures a change of the rules, or of a mask, makes worth processing again."""

import functools
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
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
from tmt_dq.exposures.history import recorded_context
from tmt_dq.exposures.ramp import Ramp, read_ramp
from tmt_dq.fits.encoding import read_rows
from tmt_dq.fits.file import open_input
from tmt_dq.instruments import Instrument
from tmt_dq.masks.mask import Mask, read_mask

if TYPE_CHECKING:
    from tmt_dq.references.selection import Selection

__all__ = ["Effect", "affected", "affected_output", "check_context", "recorded_mask"]

_NO_RULE = "no rule"
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
    effects: dict[int, Effect] = {}
    waiting: dict[tuple[Path, Path], dict[int, tuple[Path, Ramp, tuple[str, str]]]] = {}
    for number, name in enumerate(files):
        path = Path(name)
        try:
            with open_input(path) as file:
                ramp = read_ramp(file, start=subarray).ramp
            old, new = (_select(ramp, path, *side, verify=verify) for side in sides)
        except TmtDqError as error:
            effects[number] = _unknown(path, error)
            continue
        names = _name(old), _name(new)
        masks = _paths(old, new)
        if masks is not None:
            waiting.setdefault(masks, {})[number] = (path, ramp, names)
        elif names[0] == names[1]:
            effects[number] = Effect(path, False, _same(names[0]), *names)
        else:
            effects[number] = Effect(path, True, f"{names[0]} before, {names[1]} now", *names)
    for masks, exposures in waiting.items():
        effects |= _compare(masks, exposures, flags_only=flags_only)
    result = tuple(effects[number] for number in sorted(effects))
    errors = [effect.error for effect in result if effect.error is not None]
    if errors and not keep_errors:
        raise BatchError(f"{len(errors)} of {len(result)} exposures could not be judged", errors)
    return result


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
        if "R_MASK" not in header:
            raise UnexplainedFlagsError(
                "was initialized, but does not say with which mask: it has no R_MASK",
                where=path,
                hint="Process the raw ramp.",
            )
        name, context = str(header["R_MASK"]), recorded_context(header)
        ramp = read_ramp(file, start=subarray).ramp
    if context is None or not (name == "N/A" or name.startswith(_FROM_CACHE)):
        reason = f"its mask, {name}, was not chosen by rules"
        return Effect(path, affected=False, reason=reason, old=name)
    new = _select(ramp, path, crds_path, new_context)
    names = (name.removeprefix(_FROM_CACHE), _name(new))
    made = new is not None and new.context == context and names[0] == names[1]
    if made and not _is_from_another(path, name, ramp, new, old_crds_path, subarray):
        reason = f"it was made with {context} already"
        return Effect(path, affected=False, reason=reason, old=names[0], new=names[1])
    if new is None or new.path is None or names[0] == "N/A":
        if names[0] == names[1]:
            return Effect(path, False, _same(names[0]), *names)
        return Effect(path, True, f"{names[0]} before, {names[1]} now", *names)
    old = recorded_mask(name, ramp.instrument, old_crds_path or crds_path)
    if old.samefile(new.path):
        return Effect(path, False, _same(names[0]), *names)
    found = _compare((old, new.path), {0: (path, ramp, names)}, flags_only=flags_only)
    return found[0]


def _is_from_another(
    path: Path,
    name: str,
    ramp: Ramp,
    new: "Selection | None",
    old_crds_path: str | os.PathLike[str] | None,
    subarray: tuple[int, int] | None,
) -> bool:
    """Whether an exposure was made with another mask of the same name and context.

    Two caches that grew apart give both to different masks; what tells is the exposure's flags.
    """
    if old_crds_path is None or new is None or new.path is None:
        return False
    try:
        masks = (recorded_mask(name, ramp.instrument, old_crds_path), new.path)
        old, now = (read_mask(mask) for mask in masks)
    except TmtDqError:
        return False  # the old cache does not know it: it is from the new one
    if not all(mask.window.contains(ramp.window) for mask in (old, now)):
        return False
    before, after = (mask.dq[ramp.window.slices(mask.window)] for mask in (old, now))
    differing = before ^ after
    if not differing.any():
        return False
    with open_input(path, scratch=Path(tempfile.gettempdir())) as file:
        exposure = read_ramp(file, start=subarray)
        if exposure.pixeldq is None:
            return True
        flags = read_rows(file, exposure.pixeldq, 0, ramp.window.ny)
    return bool(np.any((flags ^ after) & differing))


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


def _same(name: str) -> str:
    """Say why an exposure is not affected, whose mask needs no comparison."""
    if name == _NO_RULE:
        return "no rule matches it, before and now"
    return "no mask applies to it, before and now" if name == "N/A" else f"the same file, {name}"


def _paths(old: "Selection | None", new: "Selection | None") -> tuple[Path, Path] | None:
    """Return the masks to compare, None if there are not two different files."""
    if old is None or new is None or old.path is None or new.path is None:
        return None
    return None if old.path.samefile(new.path) else (old.path, new.path)


def _unknown(path: Path, error: TmtDqError) -> Effect:
    return Effect(path, affected=True, reason=f"could not be judged: {error.what}", error=error)


def _compare(
    paths: tuple[Path, Path],
    exposures: Mapping[int, tuple[Path, Ramp, tuple[str, str]]],
    *,
    flags_only: bool,
) -> dict[int, Effect]:
    """Compare two masks inside the windows of the exposures that change from one to the other."""
    try:
        old, new = (read_mask(path) for path in paths)
    except TmtDqError as error:
        return {
            number: replace(_unknown(path, error), old=names[0], new=names[1])
            for number, (path, _, names) in exposures.items()
        }
    counted: dict[Window, int] = {}
    effects = {}
    for number, (path, ramp, names) in exposures.items():
        short = next((mask for mask in (old, new) if not mask.window.contains(ramp.window)), None)
        if short is not None:
            what = f"the mask covers {short.window.describe()}, the exposure lies at "
            problem = GeometryError(what + ramp.window.describe(), where=short.path)
            effects[number] = replace(_unknown(path, problem), old=names[0], new=names[1])
            continue
        if ramp.window not in counted:
            counted[ramp.window] = _differing(old, new, ramp.window)
        pixels = counted[ramp.window]
        effects[number] = Effect(
            path,
            pixels > 0 or (names[0] != names[1] and not flags_only),
            _reason(names, pixels),
            *names,
            pixels=pixels,
        )
    return effects


@functools.lru_cache(maxsize=8)
def _differing(old: Mask, new: Mask, window: Window) -> int:
    """Count the pixels of a window in which two masks differ."""
    ours, theirs = (mask.dq[window.slices(mask.window)] for mask in (old, new))
    return int(np.count_nonzero(ours != theirs))


def _reason(names: tuple[str, str], pixels: int) -> str:
    flags = f"other flags in {pixels:,} of its pixels" if pixels else "the same flags in its pixels"
    if names[0] == names[1]:
        return f"{names[0]} is another file, with {flags}"
    return f"{names[1]} instead of {names[0]}, with {flags}"
