"""Models as astropy's NDData and CCDData: data, mask, flags, unit, world coordinates, header."""

import contextlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tmt_dq.core.flags import PIXEL
from tmt_dq.errors import ConfigError

MaskFlags = str | Iterable[str] | None
"""Flags by which a pixel counts as masked: names, "any" for all of them, None for no mask."""

_LONGEST = 8
"""Characters of an ordinary keyword; longer ones are HIERARCH's."""

_DEFAULT_UNIT = "DN"
"""Unit of the counts of raw reads, where there is no BUNIT."""

_WORLD: tuple[str, ...] = ("CTYPE", "CRVAL", "CRPIX", "CDELT", "CUNIT", "CROTA", "CD1_", "CD2_")
_WORLD += ("PC1_", "PC2_", "PV1_", "PV2_", "LONPOLE", "LATPOLE", "RADESYS", "EQUINOX", "WCSAXES")


def mask_value(flags: MaskFlags, where: str) -> int | None:
    """Return the bits by which a pixel counts as masked, None for no mask at all."""
    if flags is None:
        return None
    names = [flags] if isinstance(flags, str) else list(flags)
    if [str(name).strip().lower() for name in names] == ["any"]:
        return PIXEL.mask
    value = PIXEL.encode(" ".join(map(str, names)))
    if not value:
        hint = "Name some, or use mask_flags='any', or None for no mask."
        raise ConfigError(f"{flags!r} is no flag by which to mask", where=where, hint=hint)
    return value


def mask_of(flags: npt.NDArray[np.uint32], value: int | None) -> npt.NDArray[np.bool_] | None:
    """Return a mask, True where a pixel has one of the flags `value`, as astropy has it."""
    return None if value is None else np.not_equal(flags & np.uint32(value), 0)


def flags_and_mask(
    pixeldq: npt.NDArray[np.uint32], groupdq: npt.NDArray[np.uint8], value: int | None
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.bool_] | None]:
    """Return the flags of samples, those of their pixel and their own, and the mask.

    Where no sample has a flag of its own, both are read-only views of one frame.
    """
    if groupdq.any():
        flags = np.bitwise_or(pixeldq, groupdq, dtype=np.uint32)
        return flags, mask_of(flags, value)
    mask = mask_of(pixeldq, value)
    if mask is not None:
        mask = np.broadcast_to(mask, groupdq.shape)
    return np.broadcast_to(pixeldq, groupdq.shape), mask


def unit_of(cards: Mapping[str, Any], unit: Any, where: str) -> Any:
    """Return the unit of the counts: the caller's, BUNIT's, or DN; ConfigError if it is none."""
    from astropy import units

    named = cards.get("BUNIT") if unit is None else unit
    try:
        return units.Unit(_DEFAULT_UNIT if named in (None, "") else named)
    except (ValueError, TypeError) as error:
        name = "BUNIT" if unit is None else "unit"
        what = f"{name} is {named!r}, which astropy does not know"
        hint = "Give the unit: unit='electron'."
        raise ConfigError(what, where=where, hint=hint) from error


def frame_wcs(cards: Mapping[str, Any], shape: tuple[int, int]) -> Any:
    """Return the world coordinates of a frame of rows and columns; None where it has none."""
    if not (cards.get("CTYPE1") and cards.get("CTYPE2")):
        return None
    import warnings

    from astropy.io import fits
    from astropy.wcs import WCS, FITSFixedWarning

    # Only these, and of the two axes of a frame: the header is that of four axes.
    world = {key: cards[key] for key in cards if key.startswith(_WORLD) and key[-1] not in "34"}
    plain = fits.Header()
    plain.update({"NAXIS": 2, "NAXIS1": shape[1], "NAXIS2": shape[0]})
    plain.update({key: value for key, value in world.items() if key != "WCSAXES"})
    with warnings.catch_warnings():
        # astropy reports its translation of old notations; the result is the same.
        warnings.simplefilter("ignore", FITSFixedWarning)
        return WCS(plain, naxis=2)


def header(cards: Mapping[str, Any]) -> Any:
    """Return keywords as a header, without those of which astropy has its own idea."""
    from astropy.io import fits

    made = fits.Header()
    for key, value in cards.items():
        if key == "BUNIT" or key.startswith(_WORLD):
            continue
        plain = len(key) <= _LONGEST and key.replace("-", "").replace("_", "").isalnum()
        # A value that no card can hold stays in the model.
        with contextlib.suppress(ValueError):
            made[key if plain else f"HIERARCH {key}"] = value
    return made
