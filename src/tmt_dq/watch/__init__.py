"""Ramps as they arrive in a folder: each is initialized when it is complete."""

from tmt_dq.watch.run import Prospect, plan_watch, watch_folder
from tmt_dq.watch.service import Control, WatchResult

__all__ = ["Control", "Prospect", "WatchResult", "plan_watch", "watch_folder"]
