"""Rules of the moment: new CRDS contexts, and masks that were replaced, while a watch runs."""

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
    """Settings of the moment.

    Workers look up the rules for each exposure anyway. This is for what is made of an answer that
    there is no mask, for the journal, and for trying again what was set aside.
    """

    def __init__(self, options: Mapping[str, Any], settings: Settings) -> None:
        self._options = options
        self._settings = settings
        self._evidence = _evidence(settings)
        self._error = ""
        self._due = 0.0

    def changed(self) -> Settings | None:
        """Return the settings if something changed since last time; looks every 2 s at most."""
        if time.monotonic() < self._due:
            return None
        self._due = time.monotonic() + _EVERY_S
        try:
            settings = make_settings(self._options)
        except (TmtDqError, OSError) as error:
            if str(error) != self._error:
                self._error = str(error)
                log.warning("the rules cannot be read: %s", error)
            return None
        evidence, self._error = _evidence(settings), ""
        if evidence == self._evidence:
            return None
        if settings.rules != self._settings.rules:
            names = ", ".join(rule.context for rule in settings.rules) or "none"
            log.warning("the rules are %s from now on", names)
        self._settings, self._evidence = settings, evidence
        return settings


def _evidence(settings: Settings) -> object:
    """Return what changes when there is something new to try."""
    options = settings.options
    files = [str(path) for path in (options.mask, options.user_dq) if path is not None]
    # A mask that comes after its rules changes the folder that it comes into.
    root = options.crds_path and f"{options.crds_path}/references"
    folders = [folder for folder, _, _ in os.walk(root)] if root else []
    return settings.rules, [(path, state_of(path)) for path in (*files, *folders)]
