"""Values that the shell offers while a command is typed.

Nothing is offered that takes long to find, and nothing is printed: an error in the middle of a
half-typed line helps nobody. What cannot be found out is not offered.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any

import click

from tmt_dq.errors import TmtDqError

Offer = Callable[[click.Context, click.Parameter, str], list[Any]]
"""What click calls: context, parameter and what is typed already, to what may be meant."""

Values = Mapping[str, str | None]
"""Values, and what each means."""


def _offer(find: Callable[[click.Context], Values], *, several: bool = False) -> Offer:
    """Offer values that begin with what is typed, or with what follows the last comma of it."""

    def complete(context: click.Context, _param: click.Parameter, typed: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        before, comma, last = typed.rpartition(",") if several else ("", "", typed)
        taken = {value.strip().lower() for value in before.split(",")}
        return [
            CompletionItem(f"{before}{comma}{value}", help=text)
            for value, text in find(context).items()
            if value.lower().startswith(last.lower()) and value.lower() not in taken
        ]

    return complete


def _flags(_context: click.Context) -> Values:
    from tmt_dq.core.flags import PIXEL

    return {flag.name: flag.description for flag in PIXEL.flags}


def _instruments(_context: click.Context) -> Values:
    from tmt_dq.instruments import available

    return dict.fromkeys(available())


def _detectors(context: click.Context) -> Values:
    """Return the detectors of the instrument that was named, or of all."""
    from tmt_dq.instruments import available, load

    named = str(context.params.get("instrument") or "").upper()
    return {
        name: instrument
        for instrument in available()
        if named in {"", instrument}
        for detector in load(instrument).detectors.values()
        for name in (detector.name, *detector.aliases)
    }


def several(*values: str) -> Offer:
    """Offer fixed words, of which several may be given with commas."""
    return _offer(lambda _context: dict.fromkeys(values), several=True)


def contexts(*cache_options: str) -> Offer:
    """Offer the contexts of the cache that the first given parameter names, the newest first."""

    def find(context: click.Context) -> Values:
        from tmt_dq.references.cache import open_cache

        given = [context.params.get(name) for name in cache_options]
        try:
            cache = open_cache(next((path for path in given if path), None), "tmt", os.environ)
        except TmtDqError:
            return {}
        names = [path.name for path in cache.mappings.glob("*.pmap")]
        return dict.fromkeys((*sorted(names, reverse=True), "latest"))

    return _offer(find)


_flag_names = _offer(_flags, several=True)
_policies = _offer(
    lambda context: {"instrument": None, "keep": None, **_flags(context)}, several=True
)
BY_NAME: Mapping[str, Offer] = {
    "affected_by": contexts("old_crds_path", "crds_path"),
    "clear_flag": _flag_names,
    "context": contexts("crds_path"),
    "defect_flags": _flag_names,
    "detector": _offer(_detectors),
    "do_not_use": _policies,
    "flag": _flag_names,
    "instrument": _offer(_instruments),
    "new_context": contexts("crds_path"),
    "old_context": contexts("old_crds_path", "crds_path"),
    "user_do_not_use": _policies,
}
"""What is offered for a parameter of this name."""


def crds_tools(context: click.Context, param: click.Parameter, typed: str) -> list[Any]:
    """Offer CRDS' tools as the first word, files as the others."""
    from click.shell_completion import CompletionItem

    from tmt_dq.references.crds_tools import TOOLS

    if context.params.get("arguments"):
        return [CompletionItem(typed, type="file")]
    tools = {name: text for name, (_, _, text) in TOOLS.items()}
    return _offer(lambda _context: tools)(context, param, typed)
