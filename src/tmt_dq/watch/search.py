"""Search of a watched folder: ramps that came or changed since it was searched last."""

import functools
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator

from tmt_dq.batch.inputs import search_folder
from tmt_dq.errors import ConfigError
from tmt_dq.files.identity import Identity
from tmt_dq.watch.completeness import identity_of
from tmt_dq.watch.options import WatchOptions

_log = logging.getLogger(__name__)

_SHARE = 0.1
"""Searches of a large folder may take this part of the time."""


class Search:
    """Ramps that came or changed: `found` has their names, `count` is the number of searches."""

    def __init__(self, options: WatchOptions) -> None:
        self._options = options
        self._known: dict[str, Identity] = {}
        self._warn = functools.cache(_log.warning)
        self._due = 0.0
        self.found: deque[str] = deque()
        self.count = 0

    def forget(self) -> None:
        """Search the folder next time as if nothing were known of it."""
        self._known, self._due = {}, 0.0

    def search(self) -> None:
        """Search the folder if it is time."""
        start = time.monotonic()
        if start < self._due:
            return
        before, self._known = self._known, {}
        for path, identity in walk(self._options, self._failed):
            self._known[path] = identity
            if before.get(path) != identity:
                self.found.append(path)
        self.count += 1
        now = time.monotonic()
        self._due = now + max(self._options.search_s, (now - start) / _SHARE)

    def _failed(self, error: OSError) -> None:
        # A single run is to see all ramps; else, what is in other folders is worth going on for.
        if self._options.once or error.filename == str(self._options.folder):
            cannot_search(error)
        text = "%s cannot be searched: %s; ramps in it are not seen. Check its permissions."
        self._warn(text, error.filename, error.strerror)


def cannot_search(error: OSError) -> None:
    """Raise `ConfigError` about a folder that cannot be searched."""
    what, hint = f"the folder cannot be searched: {error.strerror}", "Check its permissions."
    raise ConfigError(what, where=error.filename, hint=hint) from error


def walk(
    options: WatchOptions, failed: Callable[[OSError], None]
) -> Iterator[tuple[str, Identity]]:
    """Yield the ramps in a folder and below, in the order of their names."""

    def found_closed(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            failed(error)

    for path in search_folder(
        str(options.folder),
        options.output_dir,
        options.wanted,
        recursive=options.recursive,
        failed=found_closed,
    ):
        identity = identity_of(path)
        if identity is not None:
            yield path, identity
