"""Notices new CRDS rules, and masks that were replaced, while a watch is running."""

import logging
import time
from collections.abc import Mapping
from typing import Any

from tmt_dq.batch.jobs import Settings, state_of
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
        self._evidence = _evidence(settings)
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
        found = _evidence(settings)
        if found == self._evidence:
            return None
        self._evidence = found
        if settings.rules != self._rules:
            self._rules = settings.rules
            names = ", ".join(rule.context for rule in settings.rules) or "none"
            log.warning("the rules are %s from now on", names)
        return settings


def _evidence(settings: Settings) -> object:
    paths = [settings.options.get("mask"), settings.options.get("user_dq")]
    return settings.rules, [state_of(path) for path in paths if path is not None]
