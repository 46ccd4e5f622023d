"""Settings of a batch: the options that all exposures share, checked once and made explicit.

What does the work is not imported here: its import takes half a second, and the workers, which have
to wait for it too, start only afterwards.
"""

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tmt_dq import __version__
from tmt_dq.apply.options import NOT_APPLICABLE, ApplyOptions, is_file_name
from tmt_dq.batch.records import state_of
from tmt_dq.core.options import option_table
from tmt_dq.errors import ConfigError, MaskFormatError
from tmt_dq.files import remote
from tmt_dq.files.urls import is_url, redacted

if TYPE_CHECKING:
    from tmt_dq.apply.output import Applied

_OFFERED = set(option_table(ApplyOptions)) - {"output_dir", "overwrite", "dry_run"}
_OWN = ("checksum", "affected_by", "old_crds_path", "flags_only")
_DEFAULTS = ApplyOptions()
_NO_EFFECT = {"sync", "start_over", "crds_path", "context"}


class Rule(NamedTuple):
    """CRDS rules that chose a mask: observatory, folder of the cache, context."""

    observatory: str
    cache: str
    context: str


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """What all exposures of a batch share.

    `options` are those of `tmt_dq.apply_dq`, `parameters` those of them that change the result, as
    JSON. `rules` are the rules that exist, `embedded` tells whether those of the package are
    used: each machine has them in a folder of its own. `affected_by` is set where only exposures
    are wanted that new rules change.
    """

    options: ApplyOptions
    parameters: str
    rules: tuple[Rule, ...] = ()
    embedded: bool = False
    checksum: bool = False
    affected_by: str | None = None
    old_crds_path: str | None = None
    flags_only: bool = False

    @property
    def keywords(self) -> dict[str, Any]:
        """Arguments of `tmt_dq.apply_dq` that all exposures share."""
        return {name: getattr(self.options, name) for name in _OFFERED}

    @property
    def files(self) -> dict[str, str]:
        """Mask and list that are named, by the names that records have: URLs without secrets."""
        named = (self.options.mask, self.options.user_dq)
        return {redacted(str(name)): str(name) for name in named if is_file_name(name)}

    def terms(self, applied: "Applied") -> dict[str, Any]:
        """Return what an output depends on beside its input, as a line of the journal has it."""
        rules: tuple[Rule, ...] = ()
        selection = applied.selection
        if selection is not None:
            rules = (Rule(selection.observatory, str(selection.cache), selection.context),)
        elif self.options.mask is None:
            # No rule matched; any other rules might.
            rules = self.rules
        user_dq = self.options.user_dq
        paths = [applied.mask_path, None if user_dq is None else redacted(str(user_dq))]
        names = [str(path) for path in paths if path is not None]
        states = [(name, state_of(self.files.get(name, name))) for name in names]
        return {
            "version": __version__,
            "parameters": self.parameters,
            "rules": [list(rule) for rule in rules],
            "references": [[name, *state] for name, state in states if state is not None],
        }

    def difference(self, terms: Mapping[str, Any] | None) -> str | None:
        """Return why an output made under `terms` would be another one now; None if it would not.

        They come from a file, and may be damaged.
        """
        try:
            if terms is None:
                return "made under unknown terms"
            if terms["version"] != __version__:
                return f"made by version {terms['version']}"
            if terms["parameters"] != self.parameters:
                return "parameters changed"
            if not {tuple(rule) for rule in terms["rules"]} <= set(self.rules):
                return "rules changed"
            for name, *state in terms["references"]:
                if state_of(self.files.get(name, name)) != tuple(state):
                    return f"{Path(name).name} changed"
        except (LookupError, TypeError, ValueError):
            return "made under unknown terms"
        return None


def make_settings(options: Mapping[str, Any]) -> Settings:
    """Check the options that all files of a batch share: those of `tmt_dq.apply_dq`, and its own.

    CRDS variables of the environment are made explicit, so that every worker, on whatever machine,
    does the same. Raises `ConfigError` if there is no such option, or options, cache or context
    make no sense; `MaskFormatError` if the mask or the user's flags are not there;
    `SelectionError` if the cache does not have a context.
    """
    given = {name: value for name, value in options.items() if value is not None}
    own = {name: given.pop(name) for name in _OWN if name in given}
    unknown = sorted(set(given) - _OFFERED)
    if unknown:
        hint = f"It has {', '.join(sorted(_OFFERED))}."
        raise ConfigError(f"a batch has no option {', '.join(unknown)}", hint=hint)
    _check_new_rules(given, own)
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
    # What is given and what is left out is the same where it is the default.
    effective = {
        name: redacted(value) if is_url(value) else value
        for name, value in given.items()
        if name not in _NO_EFFECT and value not in (getattr(_DEFAULTS, name), {})
    }
    if len(rules) > 1:  # an instrument may be served by several: which one chooses
        effective["observatories"] = [rule.observatory for rule in rules]
    if "affected_by" in own:
        from tmt_dq.references.cache import open_caches

        if "old_crds_path" in own:
            own["old_crds_path"] = str(Path(own["old_crds_path"]).absolute())
        open_caches(own.get("old_crds_path", given.get("crds_path")), own["affected_by"])
        # Made of the raw ramp or, where that is gone, of the initialized exposure.
        given["start_over"] = True
    parameters = json.dumps(effective, sort_keys=True, default=_plain)
    return Settings(ApplyOptions(**given), parameters, rules, embedded=embedded, **own)


def _check_new_rules(given: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Raise `ConfigError` where options about new rules do not go together."""
    if "affected_by" in own and "mask" in given:
        what = "a mask and affected_by are both given; expected one of them"
        raise ConfigError(what, hint="affected_by compares masks that rules choose.")
    details = [name for name in ("old_crds_path", "flags_only") if own.get(name)]
    if details and "affected_by" not in own:
        hint = "It is about what new rules change: name the context of before."
        raise ConfigError(f"{details[0]} is given, but not affected_by", hint=hint)


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
        what, hint = f"cannot be read: {error.strerror}", "Check the path and its permissions."
        raise MaskFormatError(what, where=path, hint=hint) from error
    return str(absolute)


def _pin_rules(given: dict[str, Any]) -> tuple[bool, tuple[Rule, ...]]:
    """Make cache and context explicit; return whether the cache is the package's, and the rules."""
    if "mask" in given:
        given.pop("crds_path", None)
        given.pop("context", None)
        return False, ()
    from tmt_dq.references.cache import crds_variables, open_caches

    environ = crds_variables()
    named = given.get("crds_path")
    given["context"] = given.get("context") or environ.get("CRDS_CONTEXT") or "latest"
    found = open_caches(named, given["context"])
    cache, _ = found[0]
    embedded = named is None and cache.embedded
    if not embedded:
        given["crds_path"] = str(cache.root)
    rules = (Rule(cache.observatory, str(cache.root), context) for cache, context in found)
    return embedded, tuple(rules)


def _plain(value: Any) -> Any:
    """Return what JSON has no form for as something that it has."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {entry.name: getattr(value, entry.name) for entry in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): entry for key, entry in value.items()}
    return list(value) if isinstance(value, tuple | set | frozenset) else str(value)
