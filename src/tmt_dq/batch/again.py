"""Going through an archive again: what new rules change, and no more than that."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tmt_dq.batch.jobs import Job, Reprocessing, Settings
from tmt_dq.batch.plan import Planned
from tmt_dq.errors import ConfigError, TmtDqError

__all__ = ["check_again", "check_old_rules", "judge", "rehearse"]


def check_again(again: Reprocessing | None, told: Mapping[str, Any]) -> None:
    """Make sure that the options of a batch make sense together."""
    if again is not None and "mask" in told:
        raise ConfigError(
            "a mask and affected_by are both given; expected one of them",
            hint="What new rules change is asked of the rules.",
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
    return replace(plan, reason=f"{why}; {plan.reason}")


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
