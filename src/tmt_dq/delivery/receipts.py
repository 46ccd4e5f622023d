"""Receipts: what a delivery put into a cache, kept in the cache."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tmt_dq.errors import DeliveryError

Kind = TypeVar("Kind", "DeliveredFile", "Receipt")

_FOLDER = "deliveries"
_FORMAT = "tmt-dq receipt 1"
_DEPTH = 3
"""A receipt lies so many folders deep in its cache."""


@dataclass(frozen=True, slots=True)
class Changes:
    """Difference between a new mask and the mask in force from its USEAFTER on."""

    mask: str | None  # the one in force; None if there is none
    pixels: int  # those whose flags change
    fraction: float  # their share of the new mask
    flags: Mapping[str, tuple[int, int]]  # pixels that get and that lose each flag

    def describe(self) -> str:
        """Describe the difference in one line."""
        counts = ", ".join(
            f"{name} +{added:,} -{removed:,}" for name, (added, removed) in self.flags.items()
        )
        detail = f" ({counts})" if counts else ""
        pixels = "1 pixel" if self.pixels == 1 else f"{self.pixels:,} pixels"
        if self.mask is None:
            return f"flags {pixels}{detail}, where no mask was in force"
        return f"changes the flags of {pixels}{detail} compared with {self.mask}"


@dataclass(frozen=True, slots=True)
class DeliveredFile:
    """A file that a delivery wrote, by its path in the cache, with its size in bytes."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a delivery did, or would do.

    Whether a delivery is in force follows from the cache's context, never from its receipt.

    Parameters
    ----------
    path : Path or None
        The receipt itself; None if nothing was delivered (`dry_run`).
    cache : Path
        The cache.
    observatory, instrument, detector, subarray, useafter : str
        What the mask is for.
    mask : str
        Name of the mask in the cache.
    source, source_sha256 : str
        The file that was given, and its sha256.
    context, context_before : str
        The new default context and the one before.
    files : tuple of DeliveredFile
        The files written: the mask and the new rules first, then what was changed.
    replaces : str or None
        The mask whose place in the rules the new one took.
    difference : str
        The difference between the old and the new rules, as ``diff --unified`` shows it.
    warnings : tuple of str
        What certification warned of, and exposures that keep another mask.
    delivered : str
        UTC time of the delivery.
    software : str
        What made it.
    changes : Changes or None
        Flags that differ from those of the mask in force before; None where that is not known.
    border : bool
        Whether the mask had to have the border of reference pixels (not with ``--no-border``).
    rolled_back : str or None
        UTC time at which the delivery was taken back; a note for people.
    """

    path: Path | None
    cache: Path
    observatory: str
    instrument: str
    detector: str
    subarray: str
    useafter: str
    mask: str
    source: str
    source_sha256: str
    context: str
    context_before: str
    files: tuple[DeliveredFile, ...]
    replaces: str | None
    difference: str
    warnings: tuple[str, ...]
    delivered: str
    software: str
    changes: Changes | None = None
    border: bool = True
    rolled_back: str | None = None

    @property
    def dry_run(self) -> bool:
        """Whether nothing was delivered."""
        return self.path is None

    @property
    def mask_path(self) -> Path | None:
        """The mask in the cache; None if nothing was delivered."""
        return None if self.path is None else self.cache / self.files[0].path

    def as_json(self) -> str:
        """Return the receipt as JSON."""
        table = dataclasses.asdict(self) | {
            "format": _FORMAT,
            "path": None if self.path is None else str(self.path),
            "cache": str(self.cache),
        }
        return f"{json.dumps(table, indent=2)}\n"


def receipts_folder(root: Path, observatory: str) -> Path:
    """Return the folder of a cache's receipts, those of deliveries taken back included."""
    return root / _FOLDER / observatory


def receipt_name(observatory: str, context: str) -> str:
    """Return where the receipt of a context's delivery is kept, relative to the cache."""
    return f"{_FOLDER}/{observatory}/{Path(context).stem}.json"


def find_receipt(root: Path, observatory: str, mask: str) -> str | None:
    """Return where the receipt of a mask's delivery is kept, relative to the cache."""
    for path in sorted(receipts_folder(root, observatory).glob("*.json")):
        if f'"mask": {json.dumps(mask)}' in path.read_text("utf-8", errors="replace"):
            return path.relative_to(root).as_posix()
    return None


def read_receipt(path: Path) -> Receipt:
    """Read a receipt; the cache is where the receipt lies, wherever it was made."""
    try:
        receipt = _from_table(json.loads(path.read_text("utf-8")), path.absolute())
    except (OSError, ValueError, TypeError, LookupError, RecursionError) as error:
        what = getattr(error, "strerror", None) or error
        if isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
            what = "it is not JSON"
        raise DeliveryError(
            f"is not a receipt that can be read: {what}",
            where=path,
            hint="A receipt is JSON in the folder deliveries of a cache; tmt-dq deliver names it.",
        ) from error
    name = receipt_name(receipt.observatory, receipt.context)
    if path.absolute() != receipt.cache / name:
        what = f"is a copy of a receipt, or was renamed; the receipt lies in its cache as {name}"
        raise DeliveryError(what, where=path)
    return receipt


def _from_table(table: Any, path: Path) -> Receipt:
    """Return the receipt that a table of JSON describes; ValueError and its like if it does not."""
    if not isinstance(table, dict) or table.pop("format", None) != _FORMAT:
        raise ValueError(f"it has no entry 'format': {_FORMAT!r}")
    changes = table.get("changes")
    if changes is not None:
        flags = {name: (added, removed) for name, (added, removed) in changes["flags"].items()}
        changes = Changes(**{**changes, "flags": flags})
    read = {
        "path": path,
        "cache": path.parents[_DEPTH - 1],
        "files": tuple(_checked(DeliveredFile, entry) for entry in table["files"]),
        "changes": changes,
        "warnings": tuple(table["warnings"]),
    }
    return _checked(Receipt, {**table, **read})


def _checked(kind: type[Kind], table: dict[str, Any]) -> Kind:
    """Make a dataclass of a table whose texts and numbers must be such; most texts are names."""
    for field in dataclasses.fields(kind):
        value, is_free = table.get(field.name), field.name in ("source", "difference")
        if field.type in (str, int) and not (
            type(value) is field.type and (is_free or str(value).isprintable())
        ):
            raise ValueError(f"its entry {field.name!r} is {value!r}")
    return kind(**table)
