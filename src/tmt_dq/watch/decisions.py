"""Decisions of a watch: what is to be done with an exposure, by the journal and what is at work."""
# As in a batch, names are text here.
# ruff: noqa: PTH118

import os
from dataclasses import dataclass
from pathlib import Path

from tmt_dq.batch.journal import Journal
from tmt_dq.batch.plan import Planner
from tmt_dq.batch.records import FileState, Job, Planned, Settings
from tmt_dq.errors import ConfigError, TmtDqError
from tmt_dq.files.names import default_output
from tmt_dq.watch.completeness import Identity
from tmt_dq.watch.options import WatchOptions

__all__ = ["Decider", "Decision"]


@dataclass(frozen=True, slots=True)
class Decision(Planned):
    """Plan for an exposure: `error` refuses it; with `outdated` a batch would do it again."""

    error: TmtDqError | None = None
    outdated: bool = False


class Decider:
    """Rules of decision about exposures; `taken` has the outputs that are being made, and of what.

    Other than a batch, a watch leaves alone what is done, also where the output was taken away or
    would be another one now, unless `redo` is set.
    """

    def __init__(self, journal: Journal, settings: Settings, options: WatchOptions) -> None:
        self._journal = journal
        self._options = options
        self._planner = Planner(journal, settings, overwrite=options.overwrite)
        self.taken: dict[str, str] = {}

    def use(self, settings: Settings) -> None:
        """Decide by other settings from now on."""
        self._planner = Planner(self._journal, settings, overwrite=self._options.overwrite)

    def decide(self, path: str, identity: Identity) -> Decision:
        """Decide about an exposure, whose file is as given."""
        name = default_output(Path(path)).name
        output = os.path.join(self._options.output_dir, name)
        entry = self._journal.entries.get(name)
        job = Job(path, output)
        if self.taken.get(output, path) != path:
            return _taken(job, self.taken[output])
        if entry is not None and entry.kind == "done" and not entry.begun:
            moved = entry.input != path and not _is_another(entry.input, path)
            same = entry.input == path and not self._options.redo
            state = FileState(identity.size, identity.mtime_ns)
            if entry.input_state == state and (moved or same):
                why = self._planner.difference(entry)
                reason = "done" if why is None else f"done; a batch would do it again: {why}"
                return Decision(job, "skip", reason, outdated=why is not None)
            if entry.input != path:
                return _taken(job, entry.input)
        plan = self._planner.plan(path, output)
        error = plan.settled().error if plan.action == "refuse" else None
        return Decision(plan.job, plan.action, plan.reason, error=error)


def _taken(job: Job, other: str) -> Decision:
    error = ConfigError(
        f"its output {job.output} would be that of this ramp too",
        where=other,
        hint="Give the ramp another name, or watch its folder with an --output-dir of its own.",
    )
    return Decision(job, "refuse", "the output is another exposure's", error=error)


def _is_another(first: str, second: str) -> bool:
    """Tell whether both names are there, and stand for different files."""
    try:
        return not Path(first).samefile(second)
    except OSError:
        return False
