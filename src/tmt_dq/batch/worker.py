"""Work on one exposure of a batch, in whatever process it is."""

import dataclasses
import os
import time
from pathlib import Path
from typing import Any

from tmt_dq.batch.inputs import is_output_name
from tmt_dq.batch.records import FileResult, FileState, Job, state_of
from tmt_dq.batch.settings import Settings
from tmt_dq.errors import RampFormatError, TmtDqError
from tmt_dq.files import remote
from tmt_dq.files.copying import read_errors
from tmt_dq.files.identity import sha256_of


def process(job: Job, *, settings: Settings) -> FileResult:
    """Work on one exposure; what goes wrong with it is in the result."""
    start = time.perf_counter()
    before = state_of(job.input)
    try:
        result = _process(job, settings, before)
    except Exception as error:  # noqa: BLE001 - one bad file never stops the night
        result = FileResult.failure(job, error)
    return dataclasses.replace(result, seconds=time.perf_counter() - start)


def rehearse(job: Job, settings: Settings) -> Job:
    """Return a job as a worker would change it, where only what new rules change is wanted."""
    if job.action != "process" or settings.affected_by is None:
        return job
    needed, why = _judge(job, settings)
    if not needed:
        return dataclasses.replace(job, action="skip", reason=why)
    return dataclasses.replace(job, reason=f"{why}; {job.reason}")


def _process(job: Job, settings: Settings, before: FileState | None) -> FileResult:
    common: dict[str, Any] = {"size": job.size, "input_state": before}
    if settings.checksum:
        with remote.local(job.input) as path, read_errors(job.input):
            common["sha256"] = sha256_of(path)
        if common["sha256"] == job.sha256:
            return FileResult.of(job, "skipped", output_state=state_of(job.output), **common)
    if settings.embedded:
        from tmt_dq.references import embedded

        options = dataclasses.replace(settings.options, crds_path=embedded.cache_path())
        settings = dataclasses.replace(settings, options=options)
    if settings.affected_by is not None:
        needed, why = _judge(job, settings)
        if not needed:
            return FileResult.of(job, "skipped", reason=why, unaffected=True, **common)
    from tmt_dq.apply.apply import apply_dq

    replace = job.replace or _left_by_a_lost_worker(job)
    applied = apply_dq(job.input, job.output, overwrite=replace, **settings.keywords)
    return FileResult.of(
        job,
        "done",
        s_dqinit=applied.status,
        mask=applied.mask,
        mask_path=None if applied.mask_path is None else str(applied.mask_path),
        context=None if applied.selection is None else applied.selection.context,
        counts=applied.counts,
        output_state=state_of(job.output),
        terms=settings.terms(applied),
        **common,
    )


def _judge(job: Job, settings: Settings) -> tuple[bool, str]:
    """Return whether new rules change an exposure, or nobody knows, and why."""
    from tmt_dq.delivery.affected import affected, affected_output

    options, old = settings.options, settings.affected_by or ""
    context = options.context or "latest"
    common: dict[str, Any] = {
        "crds_path": options.crds_path,
        "old_crds_path": settings.old_crds_path,
        "flags_only": settings.flags_only,
        "subarray": options.subarray,
    }
    made = [job.output] if os.path.lexists(job.output) else []
    made += [job.input] if is_output_name(job.input) else []
    if not made:
        (effect,) = affected(old, context, [job.input], keep_errors=True, **common)
    else:
        try:
            # What counts is the mask that the exposure names.
            effect = affected_output(Path(made[0]), context, **common)
        except TmtDqError as error:
            # What is wrong with it comes out when it is processed.
            return True, f"could not be judged: {error.what}"
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
