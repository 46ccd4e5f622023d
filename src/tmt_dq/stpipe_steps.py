"""What stpipe must know of our steps to run them by name; it imports this in every process."""

__all__ = ["get_steps"]


def get_steps() -> list[tuple[str, str, bool]]:
    """Return the steps of this package, for stpipe's entry point.

    Returns
    -------
    list of tuple
        Class, alias, and whether it is a pipeline.
    """
    return [("tmt_dq.step.DQInitStep", "dq_init", False)]
