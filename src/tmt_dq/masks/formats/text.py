"""Lists of pixels and boxes as text: columns between blanks or commas, CSV, ECSV."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from astropy.io import ascii as tables
from astropy.table import Table

from tmt_dq.errors import ConfigError, MaskFormatError
from tmt_dq.masks.formats.columns import Columns
from tmt_dq.masks.formats.format import Format, Target, read_text
from tmt_dq.masks.formats.lists import LIST_OPTIONS, POSITION_NAMES, list_mask
from tmt_dq.masks.mask import Mask
from tmt_dq.masks.reading import Reading

__all__ = ["TEXT"]

_ECSV = "# %ECSV"


def _read(path: Path, reading: Reading, target: Target) -> Mask:
    text = read_text(path)
    columns = _ecsv if text.startswith(_ECSV) else _plain
    return list_mask(columns(path, text, reading.columns), reading, target)


def _plain(path: Path, text: str, names: tuple[str, ...] | None) -> Columns:
    """Read a text or CSV list.

    A ``#`` starts a comment; a comment ``# base: 0`` or ``# base: 1`` states where counting
    starts. The first line that is not a comment names the columns, unless the user does.
    """
    numbers, lines, base = _lines(path, text)
    delimiter = "," if "," in lines[0] else None
    first = [cell.strip().strip('"').lower() for cell in lines[0].split(delimiter)]
    if not POSITION_NAMES.isdisjoint(first):
        if names is not None:
            raise ConfigError(
                f"names its columns itself: {' '.join(first)}",
                where=path,
                hint="Leave the names out.",
                options=("columns",),
            )
        names, lines, numbers = tuple(first), lines[1:], numbers[1:]
    elif names is None:
        raise ConfigError(
            f"does not name its columns: the first line is {lines[0]!r}",
            where=path,
            hint="Name them in their order, for example x,y,flag.",
            options=("columns",),
        )
    wanted = _unique(path, names)
    if not lines:
        return Columns(path, {name: np.zeros(0, np.int64) for name in wanted}, [], "line", base)
    try:
        table = tables.read(
            lines, format="no_header", names=wanted, delimiter=delimiter or " ", guess=False
        )
    except (tables.InconsistentTableError, ValueError) as error:
        raise _wrong_line(path, lines, numbers, wanted, delimiter) or MaskFormatError(
            f"is no table that can be read: {error}", where=path
        ) from error
    return Columns(path, _arrays(path, table, wanted), numbers, "line", base)


def _lines(path: Path, text: str) -> tuple[list[int], list[str], int | None]:
    """Return the lines without comments, their numbers, and the base that a comment states."""
    base: int | None = None
    numbers: list[int] = []
    lines: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        content, _, comment = line.partition("#")
        if content.count('"') % 2:
            raise MaskFormatError(
                f"line {number} has a quotation mark too many or too few", where=path
            )
        if content.strip():
            numbers.append(number)
            lines.append(content.strip())
        elif comment.lower().replace(" ", "") in {"base:0", "base:1"}:
            base = int(comment.strip()[-1])
    if not lines:
        raise MaskFormatError(
            "has no pixels; expected a line of column names and lines of numbers", where=path
        )
    return numbers, lines, base


def _wrong_line(
    path: Path,
    lines: Sequence[str],
    numbers: Sequence[int],
    names: Sequence[str],
    delimiter: str | None,
) -> MaskFormatError | None:
    """Return the error for the first line with another number of columns than there are names."""
    for number, line in zip(numbers, lines, strict=True):
        cells = line.split(delimiter)
        if len(cells) != len(names):
            return MaskFormatError(
                f"line {number} has {len(cells)} columns; expected {len(names)}: {' '.join(names)}",
                where=path,
                hint="Each line has one value for each column; ranges are written 10:20, without "
                "spaces.",
            )
    return None


def _ecsv(path: Path, text: str, names: tuple[str, ...] | None) -> Columns:
    if names is not None:
        raise ConfigError(
            "is ECSV and names its columns itself",
            where=path,
            hint="Leave the names out.",
            options=("columns",),
        )
    try:
        table = Table.read(text.splitlines(), format="ascii.ecsv")
    except Exception as error:  # YAML, the header and the columns fail in ways of their own
        raise MaskFormatError(f"is no ECSV table: {error}", where=path) from error
    base = {str(key).lower(): value for key, value in table.meta.items()}.get("base")
    return Columns(
        path,
        _arrays(path, table, _unique(path, table.colnames)),
        range(1, len(table) + 1),
        "row",
        base if base in (0, 1) and not isinstance(base, bool) else None,
    )


def _unique(path: Path, names: Sequence[str]) -> list[str]:
    wanted = [name.strip().lower() for name in names]
    if len(set(wanted)) != len(wanted):
        raise MaskFormatError(
            f"has columns of the same name: {' '.join(wanted)}", where=path, hint="Rename them."
        )
    return wanted


def _arrays(path: Path, table: Table, names: Sequence[str]) -> dict[str, np.ndarray]:
    if any(np.any(getattr(table[name], "mask", False)) for name in table.colnames):
        raise MaskFormatError("has cells without a value; expected all of them filled", where=path)
    return {
        name: np.asarray(table[column]) for name, column in zip(names, table.colnames, strict=True)
    }


TEXT = Format(
    name="a list as text",
    recognizes=lambda _path, head: b"\0" not in head,
    read=_read,
    options=LIST_OPTIONS | {"columns"},
)
