"""What the shell is offered as values of options: flags, detectors, contexts of a cache.

Nothing here may fail or print: a wrong cache is the business of the command itself, and a message
in the middle of a half-typed line helps nobody. What cannot be found out is not offered.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tmt_dq.errors import TmtDqError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = [
    "contexts",
    "crds_tools",
    "detectors",
    "files",
    "flag_lists",
    "flags",
    "instruments",
    "merge_rules",
    "parts",
    "words",
]

Offer = Callable[[click.Context, click.Parameter, str], "list[CompletionItem]"]
"""What click calls: context, parameter and what is typed already, to what may be meant."""


def _items(
    values: Mapping[str, str | None], incomplete: str, *, before: str = ""
) -> "list[CompletionItem]":
    """Return the values that begin with what is typed, whatever its case."""
    from click.shell_completion import CompletionItem

    start = incomplete.lower()
    return [
        CompletionItem(before + value, help=text)
        for value, text in values.items()
        if value.lower().startswith(start)
    ]


def _listed(values: Mapping[str, str | None], incomplete: str) -> "list[CompletionItem]":
    """Complete the last of several values with commas between them; none is offered twice."""
    before, comma, last = incomplete.rpartition(",")
    taken = {value.strip().lower() for value in before.split(",")}
    left = {value: text for value, text in values.items() if value.lower() not in taken}
    return _items(left, last, before=before + comma)


def words(*values: str) -> Offer:
    """Offer fixed words where others are allowed too."""
    return lambda _context, _param, incomplete: _items(dict.fromkeys(values), incomplete)


def parts(*values: str) -> Offer:
    """Offer fixed words, of which several may be given with commas."""
    return lambda _context, _param, incomplete: _listed(dict.fromkeys(values), incomplete)


def files(_context: click.Context, _param: click.Parameter, incomplete: str) -> Any:
    """Let the shell complete file names."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="file")]


def _flag_values() -> dict[str, str | None]:
    from tmt_dq.core.flags import PIXEL

    return {flag.name: flag.description for flag in PIXEL.flags}


def flags(_context: click.Context, _param: click.Parameter, incomplete: str) -> Any:
    """Offer names of flags, several with commas."""
    return _listed(_flag_values(), incomplete)


def flag_lists(*values: str) -> Offer:
    """Offer some words, or names of flags."""

    def offer(_context: click.Context, _param: click.Parameter, incomplete: str) -> Any:
        return _listed(dict.fromkeys(values) | _flag_values(), incomplete)

    return offer


def merge_rules(_context: click.Context, _param: click.Parameter, incomplete: str) -> Any:
    """Offer rules of merging: a word, or FLAG=word."""
    rules = {
        f"{name}={rule}": text for name, text in _flag_values().items() for rule in ("any", "all")
    }
    return _items({"any": None, "all": None, **rules}, incomplete)


def instruments(_context: click.Context, _param: click.Parameter, incomplete: str) -> Any:
    """Offer the instruments that are described."""
    from tmt_dq.instruments import available

    return _items(dict.fromkeys(available()), incomplete)


def detectors(context: click.Context, _param: click.Parameter, incomplete: str) -> Any:
    """Offer the detectors of the instrument that was named, or of all."""
    from tmt_dq.instruments import available, load

    named = str(context.params.get("instrument") or "").upper()
    values: dict[str, str | None] = {}
    for instrument in available():
        if named in {"", instrument}:
            for detector in load(instrument).detectors.values():
                values[detector.name] = instrument
                values |= dict.fromkeys(detector.aliases, f"{instrument}, {detector.name}")
    return _items(values, incomplete)


def contexts(*cache_options: str) -> Offer:
    """Offer the contexts of the cache that the first given parameter names, the newest first."""

    def offer(context: click.Context, _param: click.Parameter, incomplete: str) -> Any:
        given = [context.params.get(name) for name in cache_options]
        names = sorted(_context_names(next((path for path in given if path), None)), reverse=True)
        return _items(dict.fromkeys((*names, "latest")), incomplete)

    return offer


def _context_names(cache: Path | None) -> Iterable[str]:
    """Return the names of the contexts in a cache."""
    named = cache or os.environ.get("TMT_DQ_CRDS_PATH") or os.environ.get("CRDS_PATH")
    if named:
        folder = Path(named).expanduser() / "mappings"
    else:
        from tmt_dq.references import embedded

        try:
            folder = embedded.cache_path() / "mappings"
        except TmtDqError:
            return ()
    # Of all observatories: which one it is about is in a file that may not be named yet.
    return {path.name for pattern in ("*.pmap", "*/*.pmap") for path in folder.glob(pattern)}


def crds_tools(_context: click.Context, _param: click.Parameter, incomplete: str) -> Any:
    """Offer CRDS' tools as the first word, files as the others."""
    from tmt_dq.references.crds_tools import TOOLS

    if _context.params.get("arguments"):
        return files(_context, _param, incomplete)
    return _items({name: text for name, (_, _, text) in TOOLS.items()}, incomplete)
