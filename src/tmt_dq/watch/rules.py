"""Notices new CRDS rules, and masks that were replaced, while a watch is running."""

import contextlib
import logging
import os
import time
from collections.abc import Mapping
from typing import Any

from tmt_dq.batch.records import Settings, state_of
from tmt_dq.batch.settings import make_settings
from tmt_dq.errors import TmtDqError

__all__ = ["Rules"]

log = logging.getLogger(__name__)

_EVERY_S = 2.0


class Rules:
    """What is to be done with each exposure, as it is at the moment.

    Workers look up the rules for each exposure anyway. This is for what is made of an answer that
    there is no mask, for the record, and for trying again what was set aside.

    Parameters
    ----------
    options : mapping
        Options of `tmt_dq.apply_dq`.
    settings : Settings
        What they mean at the start.
    """

    def __init__(self, options: Mapping[str, Any], settings: Settings) -> None:
        self._options = options
        self._rules = settings.rules
        self._references = _References()
        self._evidence = self._find(settings)
        self._trouble = ""
        self._due = 0.0

    def news(self) -> Settings | None:
        """Return the settings if they are others than last time; looks every 2 s at most."""
        if time.monotonic() < self._due:
            return None
        self._due = time.monotonic() + _EVERY_S
        try:
            settings = make_settings(self._options)
        except (TmtDqError, OSError) as error:
            if str(error) != self._trouble:
                self._trouble = str(error)
                log.warning("the rules cannot be read: %s", error)
            return None
        if self._trouble:
            self._trouble = ""
            log.warning("the rules can be read again")
        found = self._find(settings)
        if found == self._evidence:
            return None
        self._evidence = found
        if settings.rules != self._rules:
            self._rules = settings.rules
            names = ", ".join(rule.context for rule in settings.rules) or "none"
            log.warning("the rules are %s from now on", names)
        return settings

    def _find(self, settings: Settings) -> object:
        """Return what is another when there is something new to try."""
        paths = [settings.options.get("mask"), settings.options.get("user_dq")]
        states = [state_of(path) for path in paths if path is not None]
        return settings.rules, states, self._references.state(settings.options.get("crds_path"))


class _References:
    """The folders of a cache's masks: one that is delivered after its rules changes them."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[int, list[str]]] = {}

    def state(self, cache: str | None) -> dict[str, int]:
        """Return when each folder has changed; only those that have are read again."""
        # As in CRDS, masks may be elsewhere than rules.
        root = os.environ.get("CRDS_REFPATH") or (cache and f"{cache}/references")
        found: dict[str, tuple[int, list[str]]] = {}
        folders = [root] if root else []
        while folders:
            folder = folders.pop()
            with contextlib.suppress(OSError):
                changed = os.stat(folder).st_mtime_ns
                known = self._known.get(folder)
                below = known[1] if known and known[0] == changed else _folders_in(folder)
                found[folder] = changed, below
                folders += below
        self._known = found
        return {folder: changed for folder, (changed, _) in found.items()}


def _folders_in(folder: str) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.path for entry in entries if entry.is_dir(follow_symlinks=False))
