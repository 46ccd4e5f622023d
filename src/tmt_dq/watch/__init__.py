"""Ramps as they arrive in a folder: each is initialized when it is complete."""

from tmt_dq.watch.control import Control
from tmt_dq.watch.run import Prospect, WatchResult, plan_watch, watch_folder

__all__ = ["Control", "Prospect", "WatchResult", "plan_watch", "watch_folder"]
