"""Settings of a batch: the options that all exposures share, checked once and made explicit.

What does the work is not imported here: its import takes half a second, and the workers, which have
to wait for it too, start only afterwards.
"""

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tmt_dq.apply.options import NOT_APPLICABLE, ApplyOptions
from tmt_dq.batch.records import Rule, Settings
from tmt_dq.core.options import option_table
from tmt_dq.errors import ConfigError, MaskFormatError, TmtDqError
from tmt_dq.files import remote
from tmt_dq.files.urls import is_url, redacted

__all__ = ["keywords", "make_settings"]

_OFFERED = set(option_table(ApplyOptions)) - {"output_dir", "overwrite", "dry_run"}
_DEFAULTS = ApplyOptions()
_NO_EFFECT = {"sync", "start_over", "crds_path", "context"}


def make_settings(options: Mapping[str, Any], *, checksum: bool = False) -> Settings:
    """Check the options of `tmt_dq.apply_dq` that all files of a batch share.

    CRDS variables of the environment are made explicit, so that every worker, on whatever machine,
    does the same. Raises `ConfigError` if there is no such option, or the cache or context make no
    sense; `MaskFormatError` if the mask or the user's flags are not there; `SelectionError` if the
    cache does not have the context.
    """
    unknown = sorted(set(options) - _OFFERED)
    if unknown:
        raise ConfigError(
            f"a batch has no option {', '.join(unknown)}",
            hint=f"It has {', '.join(sorted(_OFFERED))}.",
        )
    given = {name: value for name, value in options.items() if value is not None}
    if isinstance(given.get("recipe"), Mapping) and given["recipe"]:
        from tmt_dq import instruments
        from tmt_dq.apply.plan import choose_recipe

        instrument = instruments.load(instruments.available()[0])
        choose_recipe(instrument, ApplyOptions(recipe=given["recipe"]))
    if str(given.get("mask", NOT_APPLICABLE)).strip().upper() != NOT_APPLICABLE:
        given["mask"] = _file(given["mask"], "mask")
    if "user_dq" in given:
        given["user_dq"] = _file(given["user_dq"], "user DQ")
    embedded, rules = _pin_rules(given)
    chosen = ApplyOptions(**given)
    # What is given and what is left out is the same where it is the default.
    effective = {
        name: redacted(value) if is_url(value) else value
        for name, value in given.items()
        if name not in _NO_EFFECT and value not in (getattr(_DEFAULTS, name), {})
    }
    parameters = json.dumps(effective, sort_keys=True, default=_plain)
    return Settings(chosen, parameters, rules, checksum=checksum, embedded=embedded)


def keywords(options: ApplyOptions) -> dict[str, Any]:
    """Return the arguments of `tmt_dq.apply_dq` that all files of a batch share."""
    return {name: getattr(options, name) for name in _OFFERED}


def _file(path: Any, what: str) -> str:
    """Return the absolute name of a file that must be there."""
    if not isinstance(path, str | os.PathLike):
        raise ConfigError(f"the {what} of a batch is {type(path).__name__}; expected a file's name")
    if is_url(path):
        if remote.state(str(path)) is None:
            raise MaskFormatError("is not there", where=redacted(str(path)), hint="Check the URL.")
        return str(path)
    absolute = Path(path).absolute()
    try:
        absolute.stat()
    except OSError as error:
        raise MaskFormatError(
            f"cannot be read: {error.strerror}",
            where=path,
            hint="Check the path and its permissions.",
        ) from error
    return str(absolute)


def _pin_rules(given: dict[str, Any]) -> tuple[bool, tuple[Rule, ...]]:
    """Make cache and context explicit; return whether the cache is the package's, and the rules."""
    if "mask" in given:
        given.pop("crds_path", None)
        given.pop("context", None)
        return False, ()
    from tmt_dq.references.cache import crds_variables, open_cache
    from tmt_dq.references.observatories import available

    environ = crds_variables(os.environ)
    named = given.get("crds_path")
    given["context"] = given.get("context") or environ.get("CRDS_CONTEXT") or "latest"
    rules: list[Rule] = []
    problems: list[TmtDqError] = []
    embedded = False
    for observatory in available():
        try:
            cache = open_cache(named, observatory, environ)
            context = cache.context(given["context"], environ)
        except TmtDqError as error:
            problems.append(error)
            continue
        if named is None and cache.embedded:
            embedded = True
        else:
            given["crds_path"] = str(cache.root)
        rules.append(Rule(observatory, str(cache.root), context))
    if not rules and problems:
        raise next((e for e in problems if given["context"].startswith(str(e.where))), problems[-1])
    return embedded, tuple(rules)


def _plain(value: Any) -> Any:
    """Return what JSON has no form for as something that it has."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {entry.name: getattr(value, entry.name) for entry in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): entry for key, entry in value.items()}
    return list(value) if isinstance(value, tuple | set | frozenset) else str(value)
