"""Decides what is to be done with each exposure of a batch, without reading any."""
# As in inputs.py, names are text here.
# ruff: noqa: PTH100, PTH118, PTH119

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tmt_dq import __version__
from tmt_dq.batch.jobs import FileResult, FileState, Job, Settings, Terms, path_of, state_of
from tmt_dq.batch.state import Entry, State
from tmt_dq.errors import ConfigError, OutputError, TmtDqError
from tmt_dq.files.names import default_output
from tmt_dq.files.urls import Place, Url, is_url, redacted

if TYPE_CHECKING:
    from tmt_dq.batch.elsewhere import Listing

__all__ = ["Planned", "Planner", "name_outputs"]

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Planned:
    """What is to be done with one exposure.

    Attributes
    ----------
    job : Job
        The exposure.
    action : str
        "process"; "skip": done and still true, or not asked for; or "refuse": its output is there
        already and not this batch's.
    reason : str
        Why.
    size : int
        Bytes of the input; 0 if it is not there.
    error : TmtDqError or None
        What refuses it, if that is not the output.
    """

    job: Job
    action: Literal["process", "skip", "refuse"]
    reason: str
    size: int = 0
    error: TmtDqError | None = None

    def settled(self) -> FileResult:
        """Return the result of an exposure with which nothing is to be done."""
        if self.action == "skip":
            return FileResult(
                path_of(self.job.input),
                path_of(self.job.output),
                "skipped",
                size=self.size,
                reason=self.reason,
            )
        error = self.error or OutputError(
            "exists already, and this batch did not make it as it is",
            where=path_of(self.job.output),
            hint="Name another --output-dir, or say --overwrite (overwrite=True) to replace it.",
        )
        return FileResult.failure(self.job, error, size=self.size)


def name_outputs(inputs: Iterable[str], folder: Place) -> dict[str, str]:
    """Give each exposure its output.

    Parameters
    ----------
    inputs : iterable of str
        Absolute names.
    folder : Path
        Folder of the outputs.

    Returns
    -------
    dict of str to str
        Input to output, absolute. Inputs that are outputs of others are left out.

    Raises
    ------
    ConfigError
        Raised if several exposures have the same output.
    """
    outputs: dict[str, str] = {}
    first: dict[str, str] = {}
    double: list[tuple[str, str, str]] = []
    base = folder.full if isinstance(folder, Url) else os.path.abspath(folder)
    for path in inputs:
        target = os.path.join(base, default_output(path_of(path)).name)
        outputs[path] = target
        if first.setdefault(target, path) != path:
            double.append((target, first[target], path))
    outputs = {path: target for path, target in outputs.items() if path not in first}
    double = [entry for entry in double if entry[1] in outputs and entry[2] in outputs]
    if double:
        named = [map(redacted, entry) for entry in double[:_SHOWN]]
        shown = [f"  {two} and {three}: {one}" for one, two, three in named]
        more = [f"  and {len(double) - _SHOWN} more"] if len(double) > _SHOWN else []
        raise ConfigError(
            "exposures have the same output:\n" + "\n".join(shown + more),
            hint="Run them in batches with an --output-dir of their own.",
        )
    return outputs


class Planner:
    """Compares what is known of a folder with what is there now.

    Parameters
    ----------
    state : State
        What is known.
    settings : Settings
        What is asked for now.
    overwrite : bool
        Whether files of others are replaced.
    retry_failed : bool
        Whether only what failed is done again.
    """

    def __init__(
        self, state: State, settings: Settings, *, overwrite: bool, retry_failed: bool
    ) -> None:
        self._state = state
        self._settings = settings
        self._overwrite = overwrite
        self._retry_failed = retry_failed
        self._judged: dict[str | None, str | None] = {}
        self._listing: Listing | None = None

    def decide(self, path: str, output: str) -> Planned:
        """Decide about one exposure.

        Parameters
        ----------
        path, output : str
            Input and output, absolute.

        Returns
        -------
        Planned
            The decision.
        """
        entry = self._state.entries.get(os.path.basename(output))
        now = self._state_of(path)
        size = 0 if now is None else now.size
        out = self._state_of(output)
        there = out is not None if is_url(output) else os.path.lexists(output)
        ours = entry is not None and out is not None and entry.output_state == out
        if self._retry_failed and (entry is None or not entry.is_failure):
            return Planned(Job(path, output), "skip", "did not fail", size)
        if there and not ours and not self._overwrite and (entry is None or entry.kind != "begun"):
            return Planned(Job(path, output), "refuse", "output exists", size)
        reason = _unfinished(entry, path, there=there, ours=ours)
        if reason is None and entry is not None:
            reason = self._outdated(entry, now)
        if reason is None:
            return Planned(Job(path, output), "skip", "done and still true", size)
        digest = None
        if entry is not None and reason == "input changed" and entry.input_state is not None:
            same_size = now is not None and entry.input_state.size == now.size
            digest = entry.sha256 if same_size else None
        if self._settings.checksum and reason == "content to be compared":
            digest = None if entry is None else entry.sha256
        replace = ours or (there and self._overwrite)
        return Planned(Job(path, output, replace, digest), "process", reason, size)

    def _state_of(self, path: str) -> FileState | None:
        """Return the state of a file; of one elsewhere, as its folder was when it was listed."""
        if not is_url(path):
            return state_of(path)
        if self._listing is None:
            from tmt_dq.batch.elsewhere import Listing

            self._listing = Listing()
        numbers = self._listing.state(path)
        return None if numbers is None else FileState(*numbers)

    def _outdated(self, entry: Entry, now: FileState | None) -> str | None:
        """Say why what is done must be done again; None if it need not."""
        if entry.terms not in self._judged:
            terms = self._state.terms.get(entry.terms or "")
            self._judged[entry.terms] = outdated(terms, self._settings)
        why = self._judged[entry.terms]
        if why is not None:
            return why
        if entry.input_state != now or now is None:
            return "input changed"
        return "content to be compared" if self._settings.checksum else None


def _unfinished(entry: Entry | None, path: str, *, there: bool, ours: bool) -> str | None:
    """Say why an exposure is not done; None if it is."""
    if entry is None:
        return "new"
    if entry.kind == "failed":
        return f"failed before: {entry.error}"
    if entry.kind == "begun":
        return "interrupted"
    if not there:
        return "output missing"
    if not ours:
        return "output changed"
    return None if entry.input == redacted(path) else "another input"


def outdated(terms: Terms | None, settings: Settings) -> str | None:
    """Say why an output made under these terms would be another one now; None if it would not.

    Parameters
    ----------
    terms : Terms or None
        The terms, if they are known.
    settings : Settings
        What is asked for now.

    Returns
    -------
    str or None
        The reason.
    """
    if terms is None:
        return "made under unknown terms"
    if terms.version != __version__:
        return f"made by version {terms.version}"
    if terms.parameters != settings.parameters:
        return "parameters changed"
    if not set(terms.rules) <= set(settings.rules):
        return "rules changed"
    full = {redacted(str(v)): str(v) for v in settings.options.values() if is_url(v)}
    for path, state in terms.references:
        if state_of(full.get(path, path)) != state:
            return f"{os.path.basename(path)} changed"
    return None
