"""Ramps as they arrive in a folder: each is initialized when it is complete.

Names are imported when they are first used: a worker loads what its work needs and no more.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tmt_dq.watch.control import Control
    from tmt_dq.watch.run import Prospect, WatchResult, plan_watch, watch_folder

_HOMES = {
    "Control": "control",
    "Prospect": "run",
    "WatchResult": "run",
    "plan_watch": "run",
    "watch_folder": "run",
}

__all__ = ["Control", "Prospect", "WatchResult", "plan_watch", "watch_folder"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
