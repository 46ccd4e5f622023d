"""Search of a watched folder: ramps that came or changed since it was searched last."""

import functools
import logging
import time
from collections import deque
from collections.abc import Iterator

from tmt_dq.batch.inputs import search_folder
from tmt_dq.files.identity import Identity
from tmt_dq.watch.completeness import identity_of
from tmt_dq.watch.options import WatchOptions

__all__ = ["Search", "walk"]

log = logging.getLogger(__name__)

_SHARE = 0.1
"""Searches of a large folder may take this part of the time."""


class Search:
    """Ramps that came or changed: `found` has their names.

    `failure` is why the last search did not find all, `count` is the number of searches, `due` when
    the next one is.
    """

    def __init__(self, options: WatchOptions) -> None:
        self._options = options
        self._known: dict[str, Identity] = {}
        self._warn = functools.cache(log.warning)
        self.due = 0.0
        self.found: deque[str] = deque()
        self.failure: OSError | None = None
        self.count = 0

    def forget(self) -> None:
        """Search the folder next time as if nothing were known of it."""
        self._known, self.due = {}, 0.0

    def search(self) -> None:
        """Search the folder if it is time."""
        start, top = time.monotonic(), str(self._options.folder)
        if start < self.due:
            return
        before, self._known = self._known, {}
        failures: list[OSError] = []
        for path, identity in walk(self._options, failures):
            self._known[path] = identity
            if before.get(path) != identity:
                self.found.append(path)
        for error in failures:
            text = "%s cannot be searched: %s; ramps in it are not seen. Check its permissions."
            self._warn(text, error.filename, error.strerror)
        # A single run is to see all ramps; else, what is in other folders is worth going on for.
        fatal = [one for one in failures if self._options.once or one.filename == top]
        self.failure = fatal[0] if fatal else None
        self.count += 1
        now = time.monotonic()
        self.due = now + max(self._options.search_s, (now - start) / _SHARE)


def walk(options: WatchOptions, failures: list[OSError]) -> Iterator[tuple[str, Identity]]:
    """Yield the ramps in a folder and below, in the order of their names; add what fails."""

    def failed(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            failures.append(error)

    for path in search_folder(
        str(options.folder),
        options.output_dir,
        options.wanted,
        recursive=options.recursive,
        failed=failed,
    ):
        identity = identity_of(path)
        if identity is not None:
            yield path, identity
