"""Ramps in the files of other pipelines: which layout of a description a file has."""

import re
from collections.abc import Iterator, Mapping, Sequence

from tmt_dq.errors import RampFormatError
from tmt_dq.fits.layout import Unit
from tmt_dq.instruments import Layout, available, load

_BITS = {16, 32}
_AXES = ("FASTAXIS", "SLOWAXIS")
_DATE = re.compile(r"\A(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d(?:\.\d+)?)\Z")
"""YYYYMMDDhhmmss, beside the forms of FITS."""


def find_layout(units: Sequence[Unit]) -> tuple[Unit, Layout] | tuple[None, None]:
    """Return the reads of a file and the one layout that its DATAMODL and structure both have."""
    found = []
    for layout in possible_layouts(units):
        names = (layout.data.upper(), layout.flags.upper())
        data, flags = ([unit for unit in units if unit.name == name] for name in names)
        if len(data) == len(flags) == 1 and _fit(data[0], flags[0]):
            found.append((data[0], layout))
    return found[0] if len(found) == 1 else (None, None)


def possible_layouts(units: Sequence[Unit]) -> tuple[Layout, ...]:
    """Return the layouts that a file without SCI may have, by its INSTRUME and DATAMODL."""
    if any(unit.name == "SCI" for unit in units):
        return ()
    header = units[0].header
    name, model = (str(header.get(key) or "").strip() for key in ("INSTRUME", "DATAMODL"))
    layouts = load(name).layouts if name.upper() in available() else ()
    return tuple(layout for layout in layouts if layout.datamodl == model)


def _fit(data: Unit, flags: Unit) -> bool:
    """Whether there is a flag, of 16 or 32 bits, for each sample of a ramp."""
    zero, scale = (flags.header.get(*card) for card in (("BZERO", 0), ("BSCALE", 1)))
    return (
        data.is_image
        and flags.is_image
        and data.shape == flags.shape
        and len(data.shape) == 4
        and min(data.index, flags.index) > 0
        and flags.bitpix in _BITS
        and "BLANK" not in flags.header
        and (zero, scale) == (1 << (flags.bitpix - 1), 1)
    )


def refuse_layout(layout: Layout | None, what: str, *, where: object, hint: str) -> None:
    """Raise RampFormatError about what is not possible with another pipeline's layout."""
    if layout is not None:
        raise RampFormatError(
            f"{what} cannot be used with a file of the layout {layout.name} (DATAMODL "
            f"{layout.datamodl}, reads in {layout.data})",
            where=where,
            hint=hint,
        )


class LayoutKeywords(Mapping[str, object]):
    """Keywords of a file of another pipeline, as ours: its date, and no orientation without one."""

    def __init__(self, keywords: Mapping[str, object], layout: Layout) -> None:
        self._keywords = keywords
        orientation = tuple(map(keywords.get, _AXES))
        self._without = _AXES if orientation == layout.unknown_orientation else ()
        date = None if "DATE-OBS" in keywords else keywords.get(layout.date or "")
        self._date = _DATE.sub(r"\1-\2-\3T\4:\5:\6", str(date or "").strip())

    def __getitem__(self, keyword: str) -> object:
        if keyword in self._without:
            raise KeyError(keyword)
        if keyword == "DATE-OBS" and self._date:
            return self._date
        return self._keywords[keyword]

    def __iter__(self) -> Iterator[str]:
        if self._date:
            yield "DATE-OBS"
        yield from (keyword for keyword in self._keywords if keyword not in self._without)

    def __len__(self) -> int:
        return sum(1 for _ in self)
