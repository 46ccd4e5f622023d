"""What was done in an output folder, what is to be done, and what was set aside."""
# As in a batch, names are text here.
# ruff: noqa: PTH118, PTH119

import contextlib
import os
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tmt_dq.batch.journal import Journal
from tmt_dq.batch.json_lines import JsonLines
from tmt_dq.batch.plan import Planner
from tmt_dq.batch.records import FileResult, FileState, Job, Settings
from tmt_dq.batch.run import remove_leftovers
from tmt_dq.errors import ConfigError, OutputError, TmtDqError
from tmt_dq.files.names import default_output
from tmt_dq.watch.aside import LIST_NAME, Aside, clue, list_text, replace_text
from tmt_dq.watch.completeness import Identity

__all__ = ["Decision", "Ledger"]


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done with an exposure.

    Parameters
    ----------
    action : str
        "process", "skip" or "aside".
    reason : str
        Why.
    job : Job or None
        What a worker is to do.
    error : TmtDqError or None
        Why it is set aside.
    outdated : bool
        Whether it is done, but a batch would do it again: by other rules, options or version.
    """

    action: str
    reason: str
    job: Job | None = None
    error: TmtDqError | None = None
    outdated: bool = False


class Ledger:
    """The books of an output folder.

    Parameters
    ----------
    folder : Path
        The output folder.
    settings : Settings
        What is to be done with each exposure.
    redo : bool
        Whether outputs that would be others now, or are not there, are made again.
    overwrite : bool
        Whether files of others are replaced.
    report : path, optional
        File to add one JSON line per exposure to.
    read_only : bool
        Whether nothing is to be written.

    Raises
    ------
    OutputError
        Raised if the folder's file cannot be read or written, or another process works in it.
    """

    def __init__(
        self,
        folder: Path,
        settings: Settings,
        *,
        redo: bool = False,
        overwrite: bool = False,
        report: Path | None = None,
        read_only: bool = False,
    ) -> None:
        self.folder = folder
        self._redo = redo
        self._overwrite = overwrite
        self.state = Journal(folder, read_only=read_only)
        self._lines: JsonLines | None = None
        try:
            if report is not None and not read_only:
                self._lines = JsonLines(report)
        except BaseException:
            self.state.close()
            raise
        self.aside: dict[str, Aside] = {}
        self._at_work: dict[str, str] = {}
        self._unwritten: deque[tuple[str, FileResult]] = deque()
        self._list_outdated = True
        self.settings = settings
        self.use(settings)

    def use(self, settings: Settings) -> None:
        """Decide by other rules from now on."""
        self.settings = settings
        self._planner = Planner(self.state, settings, overwrite=self._overwrite)

    def output_of(self, path: str) -> str:
        """Return the output of an exposure."""
        return os.path.join(self.folder, default_output(Path(path)).name)

    def decide(self, path: str, identity: Identity) -> Decision:
        """Decide what is to be done with an exposure.

        Parameters
        ----------
        path : str
            Its file, absolute.
        identity : Identity
            The file as it is.

        Returns
        -------
        Decision
            The decision.
        """
        known = self.aside.get(path)
        if known is not None and known.identity == identity:
            return Decision("skip", f"set aside: {known.error.what}")
        output = self.output_of(path)
        name = os.path.basename(output)
        now = FileState(identity.size, identity.mtime_ns)
        entry = self.state.entries.get(name)
        if self._at_work.get(name, path) != path:
            return self._taken(output, self._at_work[name])
        if entry is not None and entry.kind == "done" and not entry.begun:
            moved = entry.input != path and not _is_another(entry.input, path)
            same = entry.input == path and not self._redo
            if entry.input_state == now and (moved or same):
                why = self._planner.difference(entry)
                reason = "done" if why is None else f"done; a batch would do it again: {why}"
                return Decision("skip", reason, outdated=why is not None)
            if entry.input != path:
                return self._taken(output, entry.input)
        plan = self._planner.plan(path, output)
        if plan.action == "skip":
            return Decision("skip", plan.reason)
        if plan.action == "refuse":
            error = OutputError(
                "exists already, and this watch did not make it as it is",
                where=output,
                hint="Move it away, or start with --overwrite (overwrite=True) to replace it.",
            )
            return Decision("aside", plan.reason, error=error)
        return Decision("process", plan.reason, job=plan.job)

    def _taken(self, output: str, other: str) -> Decision:
        error = ConfigError(
            f"its output {output} would be that of this ramp too",
            where=other,
            hint="Give the ramp another name, or watch its folder with an --output-dir of its own.",
        )
        return Decision("aside", "the output is another exposure's", error=error)

    def begin(self, jobs: Iterable[Job]) -> None:
        """Announce outputs as ours; whoever writes them first flushes this to the disk."""
        jobs = list(jobs)
        for job in jobs:
            name = os.path.basename(job.output)
            entry = self.state.entries.get(name)
            if entry is not None and entry.begun:
                with contextlib.suppress(OSError):
                    remove_leftovers(job.output)
        self.state.begin((os.path.basename(job.output) for job in jobs), sync=False)

    def reserve(self, job: Job) -> None:
        """Take note that a job is to be done: no other exposure gets its output."""
        self._at_work[os.path.basename(job.output)] = job.input

    def drop(self, job: Job) -> None:
        """Take note that a job came to nothing."""
        self._at_work.pop(os.path.basename(job.output), None)

    def finish(self, result: FileResult, identity: Identity) -> None:
        """Take note of what became of a job.

        Raises
        ------
        OutputError
            Raised if it cannot be written down; `write` does so later.
        """
        path = str(result.input)
        self._at_work.pop(result.output.name, None)
        if result.error is None:
            self.take_back(path)
        else:
            self.set_aside(path, identity, result.error, kind=result.error_class)
        self._unwritten.append(("state", result))
        if self._lines is not None:
            self._unwritten.append(("report", result))
        self.write()

    def refuse(self, result: FileResult, identity: Identity) -> None:
        """Set an exposure aside whose output is another's: of that, nothing is known anew.

        Raises
        ------
        OutputError
            Raised if the report cannot be written; `write` does so later.
        """
        assert result.error is not None
        self.set_aside(str(result.input), identity, result.error, kind=result.error_class)
        if self._lines is not None:
            self._unwritten.append(("report", result))
        self.write()

    def set_aside(
        self, path: str, identity: Identity, error: TmtDqError, *, kind: str | None = None
    ) -> None:
        """Leave an exposure until it changes."""
        kind = kind or type(error).__name__
        self.aside[path] = Aside(identity, error, kind, time.time(), clue(path, error))
        self._list_outdated = True

    def take_back(self, path: str) -> None:
        """Forget that an exposure was set aside."""
        if self.aside.pop(path, None) is not None:
            self._list_outdated = True

    def forget_aside(self, *, everything: bool) -> Iterator[str]:
        """Yield exposures to try again: all, or those whose files may well be in order."""
        for path, aside in list(self.aside.items()):
            if everything or aside.kind != "RampFormatError":
                self.take_back(path)
                yield path

    def forget_mended(self) -> Iterator[str]:
        """Yield exposures to try again, because the file that the error is about has changed."""
        for path, aside in list(self.aside.items()):
            if aside.clue != clue(path, aside.error):
                self.take_back(path)
                yield path

    def forget_gone(self) -> None:
        """Forget what was set aside and is not there any more."""
        for path in [path for path in self.aside if not os.path.lexists(path)]:
            self.take_back(path)

    def write(self) -> None:
        """Write down what could not be written before.

        Raises
        ------
        OutputError
            Raised if it cannot be written now.
        """
        while self._unwritten:
            where, result = self._unwritten[0]
            if where == "state":
                self.state.finish(result)
            elif self._lines is not None:
                self._lines.append(result.as_dict())
            self._unwritten.popleft()

    def write_list(self) -> None:
        """Write the list of what was set aside, if it changed; there is none if there is nothing.

        Raises
        ------
        OSError
            Raised if it cannot be written.
        """
        if not self._list_outdated:
            return
        path = self.folder / LIST_NAME
        if not self.aside:
            path.unlink(missing_ok=True)
        else:
            replace_text(path, list_text(self.aside))
        self._list_outdated = False

    def close(self) -> None:
        """Give the folder back."""
        self.state.close()
        if self._lines is not None:
            self._lines.close()


def _is_another(first: str, second: str) -> bool:
    """Tell whether both names are there, and stand for different files."""
    try:
        return not Path(first).samefile(second)
    except OSError:
        return False
