"""Data-quality initialization for TMT's IRIS, and the life of a bad-pixel mask around it.

Names are imported when they are first used, so that ``import tmt_dq`` costs nothing.
"""

import importlib
from typing import Any

__version__ = "0.2.0"

_HOMES = {
    "DQInitStep": "tmt_dq.step",
    "GuideWindow": "tmt_dq.core.recipe",
    "Reading": "tmt_dq.masks.reading",
    "Recipe": "tmt_dq.core.recipe",
    "Window": "tmt_dq.core.geometry",
    "affected": "tmt_dq.delivery.affected",
    "apply_dq": "tmt_dq.apply.apply",
    "certify_mask": "tmt_dq.delivery.certify",
    "combine_masks": "tmt_dq.masks.combine",
    "datamodels": "tmt_dq.datamodels",
    "deliver_mask": "tmt_dq.delivery.deliver",
    "diff": "tmt_dq.report.difference",
    "dqflags": "tmt_dq.dqflags",
    "errors": "tmt_dq.errors",
    "explain": "tmt_dq.report.explanation",
    "find_bad_pixels": "tmt_dq.calibration.make",
    "grow_flags": "tmt_dq.masks.grow",
    "import_mask": "tmt_dq.masks.make",
    "make_mask": "tmt_dq.masks.make",
    "mask_history": "tmt_dq.report.history",
    "merge_subarrays": "tmt_dq.core.sources.subarrays",
    "rollback": "tmt_dq.delivery.rollback",
    "run_batch": "tmt_dq.batch",
    "select_mask": "tmt_dq.references",
    "summarize": "tmt_dq.report.summary",
    "watch_folder": "tmt_dq.watch",
}

__all__ = [*sorted(_HOMES), "__version__"]  # noqa: PLE0604 - sorted names


def __getattr__(name: str) -> Any:
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    if home == f"{__name__}.{name}":
        return importlib.import_module(home)
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
