"""Going through an archive again: what new rules change, and no more than that."""
# Names are text here, as everywhere in a batch.
# ruff: noqa: PTH118, PTH119, PTH120

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tmt_dq.batch.jobs import FileResult, Job, Reprocessing, Settings
from tmt_dq.batch.meter import meter
from tmt_dq.batch.plan import Planned
from tmt_dq.batch.state import STATE_NAME, State
from tmt_dq.errors import ConfigError, OutputError, TmtDqError

__all__ = [
    "Folders",
    "InPlacePlanner",
    "check_again",
    "check_old_rules",
    "judge",
    "rehearse",
    "rewrite",
]

_KEPT = {"user_dq", "user_reading", "subarray", "unknown", "crds_path", "context", "sync"}


def check_again(
    again: Reprocessing | None, told: Mapping[str, Any], *, alone: bool, retry_failed: bool
) -> None:
    """Make sure that the options of a batch make sense together.

    Parameters
    ----------
    again : Reprocessing or None
        What is asked for; None if all exposures are meant.
    told : mapping
        The other options, those that say nothing left out.
    alone : bool
        Whether there is no folder of outputs: the inputs themselves are changed.
    retry_failed : bool
        Whether only what failed before is to be done.

    Raises
    ------
    ConfigError
        Raised if they do not.
    """
    if again is None:
        if alone:
            raise ConfigError(
                "no folder of outputs is named",
                hint="Name an --output-dir (output_dir=). To change initialized exposures "
                "themselves, say --affected-by CONTEXT --in-place.",
            )
        return
    if "mask" in told:
        raise ConfigError(
            "a mask and affected_by are both given; expected one of them",
            hint="What new rules change is asked of the rules.",
        )
    if not alone:
        return
    if not again.in_place:
        raise ConfigError(
            "no folder of outputs is named, and the exposures are not to be changed in place",
            hint="Say --output-dir DIR for raw ramps, or --in-place for initialized exposures.",
        )
    if retry_failed:
        raise ConfigError(
            "what failed before is on record only with an output folder",
            hint="Leave --retry-failed out: what has the new flags already is skipped.",
        )
    # Where a value is the default, nobody can tell whether it was said.
    more = sorted(
        name for name, value in told.items() if name not in _KEPT and value not in ("error", {})
    )
    if more:
        recipe = told.get("recipe")
        if isinstance(recipe, Mapping):
            more = [name for name in more if name != "recipe"] + sorted(recipe)
        raise ConfigError(
            f"exposures keep the recipe that they were made with; {', '.join(more)} cannot be "
            "changed in place",
            hint="Process the raw ramps.",
        )


def check_old_rules(again: Reprocessing, settings: Settings) -> None:
    """Make sure that the rules of before are there.

    Parameters
    ----------
    again : Reprocessing
        Names them.
    settings : Settings
        What all exposures share.

    Raises
    ------
    ConfigError, SelectionError
        Raised if they are not.
    """
    from tmt_dq.delivery.affected import check_context

    check_context(again.old_crds_path or settings.options.get("crds_path"), again.old_context)


def rehearse(plan: Planned, settings: Settings) -> Planned:
    """Return the decision about an exposure after judging it, as a worker would.

    Parameters
    ----------
    plan : Planned
        The decision by its name alone.
    settings : Settings
        What it has in common with the others.

    Returns
    -------
    Planned
        The decision.
    """
    if plan.action != "process":
        return plan
    needed, why = judge(plan.job, settings, settings.options)
    if not needed:
        return replace(plan, action="skip", reason=why)
    how = "to be rewritten in place" if plan.job.rewrite else plan.reason
    return replace(plan, reason=f"{why}; {how}")


def judge(job: Job, settings: Settings, options: Mapping[str, Any]) -> tuple[bool, str]:
    """Tell whether an exposure must be processed again, and why.

    Parameters
    ----------
    job : Job
        The exposure.
    settings : Settings
        What it has in common with the others; says which rules are compared.
    options : mapping
        Arguments of `tmt_dq.apply_dq`, as this process has them.

    Returns
    -------
    bool
        Whether it must, or nobody knows.
    str
        The reason.
    """
    from tmt_dq.delivery.affected import affected, affected_output

    again = settings.again
    assert again is not None
    caches: dict[str, Any] = {
        "crds_path": options.get("crds_path"),
        "old_crds_path": again.old_crds_path,
    }
    context = str(options.get("context") or "latest")
    if os.path.lexists(job.output):
        try:
            effect = affected_output(
                Path(job.output),
                context,
                subarray=options.get("subarray"),
                flags_only=again.flags_only,
                **caches,
            )
        except TmtDqError as error:
            # What is wrong with it comes out when it is processed.
            return True, f"could not be judged: {error.what}"
    else:
        (effect,) = affected(
            again.old_context,
            context,
            [job.input],
            flags_only=again.flags_only,
            keep_errors=True,
            subarray=options.get("subarray"),
            **caches,
        )
    if effect.error is not None:
        return True, effect.reason
    return effect.affected, f"{'' if effect.affected else 'not '}affected: {effect.reason}"


def rewrite(job: Job, settings: Settings, options: Mapping[str, Any]) -> Any:
    """Rewrite the flags of an output in place.

    Parameters
    ----------
    job, settings, options
        As in `judge`.

    Returns
    -------
    Applied or None
        What was done; None if it cannot be done in place, but the raw ramp is at hand.

    Raises
    ------
    TmtDqError
        Raised if it cannot be done, and there is no raw ramp.
    """
    from tmt_dq.reinitialize import reinitialize_dq

    again = settings.again
    assert again is not None
    alone = job.input == job.output
    kept = {name: value for name, value in options.items() if name in _KEPT - {"unknown"}}
    if options.get("unknown") == "drop":
        kept["unknown"] = "drop"
    try:
        return reinitialize_dq(
            job.output,
            in_place=True,
            raw=None if alone else job.input,
            old_crds_path=again.old_crds_path,
            progress=meter(),
            **kept,
        )
    except TmtDqError:
        if alone:
            raise
        return None


class Folders:
    """What batches remember of the folders in which exposures are changed in place.

    Only where a batch has worked before: its next run must not take the changed outputs for those
    of somebody else. No more folders are open at once than there is work going on in.
    """

    def __init__(self) -> None:
        self._open: dict[str, State | None] = {}
        self._waiting: dict[str, int] = {}

    def check_only(self, paths: Iterable[str]) -> None:
        """Complain once, not for each exposure, where all are in one folder that is in use.

        Raises
        ------
        OutputError
            Raised if another batch is at work in it.
        """
        folders = {os.path.dirname(path) for path in paths}
        if len(folders) == 1:
            self._state(*folders)

    def problem(self, folder: str) -> OutputError | None:
        """Say why exposures of a folder cannot be changed; None if they can."""
        try:
            self._state(folder)
        except OutputError as error:
            return error
        return None

    def begin(self, outputs: Iterable[str]) -> None:
        """Remember that these exposures are about to be changed."""
        names: dict[str, list[str]] = {}
        for path in outputs:
            names.setdefault(os.path.dirname(path), []).append(os.path.basename(path))
        for folder, found in names.items():
            self._waiting[folder] = self._waiting.get(folder, 0) + len(found)
            state = self._state(folder)
            if state is not None:
                state.begin(name for name in found if name in state.entries)
        for folder in [name for name, number in self._waiting.items() if not number]:
            self._close(folder)

    def finish(self, result: FileResult) -> None:
        """Remember what became of an exposure."""
        folder = str(result.output.parent)
        if folder not in self._waiting:
            return  # it was left alone
        self._waiting[folder] -= 1
        state = self._state(folder)
        if state is not None:
            state.change(result)

    def close(self) -> None:
        """Give all folders back."""
        for folder in list(self._open):
            self._close(folder)

    def _state(self, folder: str) -> State | None:
        if folder not in self._open:
            there = os.path.lexists(os.path.join(folder, STATE_NAME))
            self._open[folder] = State(Path(folder)) if there else None
        return self._open[folder]

    def _close(self, folder: str) -> None:
        state = self._open.pop(folder, None)
        self._waiting.pop(folder, None)
        if state is not None:
            state.close()


class InPlacePlanner:
    """Decides about exposures that are to be changed themselves: whoever has them says.

    Parameters
    ----------
    folders : Folders, optional
        Where the exposures are; a folder in which another batch works is left alone.
    """

    def __init__(self, folders: "Folders | None" = None) -> None:
        self._folders = folders

    def decide(self, path: str, output: str) -> Planned:
        """Decide about one exposure.

        Parameters
        ----------
        path, output : str
            The exposure, twice.

        Returns
        -------
        Planned
            The decision.
        """
        job = Job(path, output, rewrite=True)
        problem = None if self._folders is None else self._folders.problem(os.path.dirname(path))
        if problem is not None:
            return Planned(job, "refuse", problem.what, error=problem)
        return Planned(job, "process", "to be judged")
