"""Plan of a batch: what is to be done with each exposure, without reading any."""
# Names are text here, as in inputs.py.
# ruff: noqa: PTH100, PTH119

import logging
import os
from collections.abc import Iterable
from pathlib import Path

from tmt_dq.batch.inputs import is_output_name
from tmt_dq.batch.journal import Entry, Journal
from tmt_dq.batch.records import FileState, Job, state_of
from tmt_dq.batch.settings import Settings
from tmt_dq.errors import ConfigError
from tmt_dq.files.names import default_place
from tmt_dq.files.urls import is_url, redacted

_log = logging.getLogger(__name__)
_CHANGED = "input changed"
_TO_COMPARE = "content to be compared"


def name_outputs(
    inputs: Iterable[str], folder: Path | str, *, start_over: bool = False
) -> dict[str, str]:
    """Return the output of each exposure; those that are outputs of others are left out.

    With `start_over`, initialized exposures have the outputs of their raw ramps, and are left out
    where these are among the inputs. Raises `ConfigError` if several exposures have the same
    output, or one would replace itself.
    """
    owners: dict[str, str] = {}
    double: list[tuple[str, str, str]] = []
    base = folder if is_url(folder) else os.path.abspath(folder)
    for path in sorted(inputs, key=is_output_name) if start_over else inputs:
        again = start_over and is_output_name(path)
        target = os.fspath(default_place(_as_raw(path) if again else path, base))
        if again and target == path:
            what = "would be replaced by an output that is made of it"
            raise ConfigError(what, where=redacted(path), hint="Name another --output-dir.")
        owner = owners.setdefault(target, path)
        if owner != path and not again:
            double.append((owner, path, target))
    double = [three for three in double if three[1] not in owners]
    if double:
        first, second, target = map(redacted, double[0])
        what = f"{first} and {second} have the same output, {target}"
        if len(double) > 1:
            what += f"; {len(double) - 1} more have that of another exposure too"
        raise ConfigError(what, hint="Run them in batches with an --output-dir of their own.")
    return {path: target for target, path in owners.items() if path not in owners}


def _as_raw(path: str) -> str:
    """Return the name of an initialized exposure without what makes it that of an output."""
    place = path.lower().rindex("_dqinit.")
    return path[:place] + path[place + len("_dqinit") :]


class Planner:
    """Comparison of a folder's journal with the files that are there now."""

    def __init__(
        self,
        journal: Journal,
        settings: Settings,
        *,
        overwrite: bool = False,
        retry_failed: bool = False,
    ) -> None:
        self._journal = journal
        self._settings = settings
        self._overwrite = overwrite
        self._retry_failed = retry_failed
        self._differences: dict[str | None, str | None] = {}

    def plan(self, path: str, output: str) -> Job:
        """Decide about one exposure; both names are absolute."""
        entry = self._journal.entries.get(os.path.basename(output))
        now, out = state_of(path), state_of(output)
        size = 0 if now is None else now[0]
        there = out is not None or (not is_url(output) and os.path.lexists(output))
        ours = entry is not None and out is not None and entry.output_state == out
        begun = entry is not None and entry.begun
        if self._retry_failed and (entry is None or entry.kind != "failed"):
            return Job(path, output, "skip", "did not fail", size)
        if there and not (ours or begun or self._overwrite):
            return Job(path, output, "refuse", "output exists", size)
        reason = _unfinished(entry, path, there=there, ours=ours)
        if reason is None and entry is not None:
            reason = self.difference(entry) or self._input(entry, now)
        if reason is None:
            return Job(path, output, "skip", "done and still true", size)
        # With this digest, an input need not be done again.
        digest = None
        if entry is not None and reason in {_CHANGED, _TO_COMPARE} and entry.input_state and now:
            digest = entry.sha256 if entry.input_state[0] == now[0] else None
        _log.debug("%s: to be processed: %s", path, reason)
        replace = ours or (there and self._overwrite)
        return Job(path, output, "process", reason, size, replace, digest)

    def difference(self, entry: Entry) -> str | None:
        """Return why the settings would give another output than that of an entry."""
        if entry.terms not in self._differences:
            terms = self._journal.terms.get(entry.terms or "")
            self._differences[entry.terms] = self._settings.difference(terms)
        return self._differences[entry.terms]

    def _input(self, entry: Entry, now: FileState | None) -> str | None:
        if entry.input_state != now or now is None:
            return _CHANGED
        return _TO_COMPARE if self._settings.checksum else None


def _unfinished(entry: Entry | None, path: str, *, there: bool, ours: bool) -> str | None:
    """Return why an exposure is not done, the first reason that applies; None if it is done."""
    if entry is None:
        return "new"
    if entry.begun:
        return "interrupted"
    if entry.kind == "failed":
        return f"failed before: {entry.error}"
    if not there:
        return "output missing"
    if not ours:
        return "output changed"
    return None if entry.input == redacted(path) else "another input"
