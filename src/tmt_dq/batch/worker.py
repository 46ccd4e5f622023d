"""Work on one exposure of a batch, in whatever process it is."""

import dataclasses
import os
import time
from pathlib import Path
from typing import Any

from tmt_dq import __version__
from tmt_dq.apply.options import ApplyOptions
from tmt_dq.batch.inputs import is_output_name
from tmt_dq.batch.records import (
    FileResult,
    FileState,
    Job,
    Planned,
    Progress,
    Rule,
    Settings,
    Terms,
    state_of,
)
from tmt_dq.batch.settings import keywords
from tmt_dq.errors import RampFormatError, TmtDqError
from tmt_dq.files import remote
from tmt_dq.files.identity import sha256_of
from tmt_dq.files.urls import redacted

__all__ = ["process", "rehearse"]


def process(job: Job, progress: Progress | None = None, *, settings: Settings) -> FileResult:
    """Work on one exposure; what goes wrong with it is in the result."""
    start = time.perf_counter()
    before = state_of(job.input)
    try:
        result = _process(job, settings, before, progress)
    except Exception as error:  # noqa: BLE001 - one bad file never stops the night
        size = 0 if before is None else before.size
        result = FileResult.failure(job, error, size=size)
    return dataclasses.replace(result, seconds=time.perf_counter() - start)


def rehearse(plan: Planned, settings: Settings) -> Planned:
    """Return a plan as a worker would change it, where only what new rules change is wanted."""
    if plan.action != "process" or settings.again is None:
        return plan
    needed, why = _judge(plan.job, settings, settings.options)
    if not needed:
        return dataclasses.replace(plan, action="skip", reason=why)
    return dataclasses.replace(plan, reason=f"{why}; {plan.reason}")


def _process(
    job: Job, settings: Settings, before: FileState | None, progress: Progress | None
) -> FileResult:
    digest = None
    if settings.checksum:
        digest = _digest(job.input)
        if digest == job.sha256:
            return FileResult.success(job, "skipped", before, sha256=digest)
    options = settings.options
    if settings.embedded:
        from tmt_dq.references import embedded

        options = dataclasses.replace(options, crds_path=embedded.cache_path())
    if settings.again is not None:
        needed, why = _judge(job, settings, options)
        if not needed:
            return FileResult.success(
                job, "skipped", before, sha256=digest, reason=why, unaffected=True
            )
    from tmt_dq.apply.apply import apply_dq

    replace = job.replace or _left_by_a_lost_worker(job)
    applied = apply_dq(
        job.input, job.output, overwrite=replace, progress=progress, **keywords(options)
    )
    selection = applied.selection
    return FileResult.success(
        job,
        "done",
        before,
        s_dqinit=applied.status,
        mask=applied.mask,
        mask_path=None if applied.mask_path is None else str(applied.mask_path),
        context=None if selection is None else selection.context,
        counts=applied.counts,
        sha256=digest,
        terms=_terms(applied, settings),
    )


def _terms(applied: Any, settings: Settings) -> Terms:
    """Return what an output depends on, beside its input."""
    rules: tuple[Rule, ...] = ()
    selection = applied.selection
    if selection is not None:
        rules = (Rule(selection.observatory, str(selection.cache), selection.context),)
    elif settings.options.mask is None:
        # No rule matched; any other rules might.
        rules = settings.rules
    user_dq = settings.options.user_dq
    paths = [applied.mask_path, None if user_dq is None else redacted(str(user_dq))]
    states = [
        (str(path), state_of(settings.full_name(str(path)))) for path in paths if path is not None
    ]
    return Terms(
        version=__version__,
        parameters=settings.parameters,
        rules=rules,
        references=tuple((path, state) for path, state in states if state is not None),
    )


def _judge(job: Job, settings: Settings, options: ApplyOptions) -> tuple[bool, str]:
    """Return whether new rules change an exposure, or nobody knows, and why."""
    from tmt_dq.delivery.affected import affected, affected_output

    again = settings.again
    assert again is not None
    context = options.context or "latest"
    common: dict[str, Any] = {
        "crds_path": options.crds_path,
        "old_crds_path": again.old_crds_path,
        "flags_only": again.flags_only,
        "subarray": options.subarray,
    }
    made = [job.output] if os.path.lexists(job.output) else []
    made += [job.input] if is_output_name(job.input) else []
    if made:
        try:
            # What counts is the mask that the exposure names.
            effect = affected_output(Path(made[0]), context, **common)
        except TmtDqError as error:
            # What is wrong with it comes out when it is processed.
            return True, f"could not be judged: {error.what}"
    else:
        old = again.old_context
        (effect,) = affected(old, context, [job.input], keep_errors=True, **common)
    if effect.error is not None:
        return True, effect.reason
    return effect.affected, f"{'' if effect.affected else 'not '}affected: {effect.reason}"


def _left_by_a_lost_worker(job: Job) -> bool:
    """Tell whether the output, absent when the job was planned, is a whole one of ours by now.

    A worker can be killed after the output got its name and before its answer arrived. A file that
    is not an output of tmt-dq is never replaced.
    """
    if state_of(job.output) is None:
        return False
    from tmt_dq.fits.file import open_input

    try:
        with remote.local(job.output) as path, open_input(path) as file:
            return "S_DQINIT" in file.units[0].header
    except RampFormatError:
        return False


def _digest(path: str) -> str:
    with remote.local(path) as local:
        try:
            return sha256_of(local)
        except OSError as error:
            raise RampFormatError(
                f"cannot be read: {error.strerror}",
                where=path,
                hint="Check the path and its permissions.",
            ) from error
