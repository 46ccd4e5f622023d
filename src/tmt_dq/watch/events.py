"""Events in a folder: names from the kernel (watchfiles), and searches from time to time.

A search finds what the kernel did not report: what came before the watch began, what was dropped
because a queue was full, what other machines did, and what lay in a folder before the folder was
watched.
"""

import functools
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

from tmt_dq.errors import ConfigError
from tmt_dq.files.identity import Identity
from tmt_dq.watch.options import WatchOptions

__all__ = ["Events", "walk"]

log = logging.getLogger(__name__)

_STEP_MS = 10
_DEBOUNCE_MS = 20
_TIMEOUT_MS = 250
_AGAIN_S = 1.0
_SHARE = 0.02
"""Searches of a large folder may take this part of the time."""


class Events:
    """Ramps that came or changed: `found` has their names, `ring` is called when there are some.

    `failure` is why the last search did not find all, `searches` counts them.
    """

    def __init__(self, options: WatchOptions, ring: Callable[[], None]) -> None:
        self._options = options
        self._ring = ring
        self._reported: deque[str] = deque()
        self._known: dict[str, Identity] = {}
        self._end = threading.Event()
        self._due = 0.0
        self._warn = functools.cache(log.warning)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self.found: deque[str] = deque()
        self.failure: OSError | None = None
        self.searches = 0
        if options.events:
            try:
                import watchfiles  # noqa: F401 - whether it is there
            except ImportError as error:
                hint = "Run: pip install watchfiles, or search with --poll SECONDS."
                raise ConfigError("watchfiles is not installed", hint=hint) from error
            self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._end.set()
        if self._thread.ident is not None:
            self._thread.join(2)

    def forget(self) -> None:
        """Search the folder next time as if nothing were known of it."""
        self._known, self._due = {}, 0.0

    def collect(self) -> None:
        """Take what the kernel reported, and search if it is time."""
        while self._reported:
            self._take(self._reported.popleft())
        if time.monotonic() >= self._due:
            self._search()

    def _listen(self) -> None:
        """Note what the kernel reports, in a thread."""
        from watchfiles import watch

        folder = self._options.folder
        while not self._end.is_set():
            # Only once the kernel is known to report is what came before searched for.
            begun = False
            try:
                for changes in watch(
                    folder,
                    watch_filter=None,
                    step=_STEP_MS,
                    debounce=_DEBOUNCE_MS,
                    rust_timeout=_TIMEOUT_MS,
                    yield_on_timeout=True,
                    stop_event=self._end,
                    raise_interrupt=False,
                    ignore_permission_denied=True,
                ):
                    self._reported.extend(path for change, path in changes)
                    if not begun:
                        self._reported.append(str(folder))
                    if changes or not begun:
                        self._ring()
                    begun = True
            except Exception as error:  # noqa: BLE001 - searches go on, whatever it is
                # A single name that is no text ends it, too, and is found by a search.
                text = (
                    "file-system events are not available (%s); the folder is searched every %g s"
                )
                self._warn(text, str(error), self._options.search_s)
            self._end.wait(_AGAIN_S)

    def _take(self, path: str) -> None:
        """Take a file that was reported, or, of a folder, what was in it before it was watched."""
        place = os.path.dirname(path)  # noqa: PTH120 - names are text here
        if path == str(self._options.folder):
            self._due = 0.0
        elif os.path.realpath(place) != place:
            return  # the kernel follows links to folders; searches do not, and batches
        elif os.path.isdir(path) and not os.path.islink(path):  # noqa: PTH112, PTH114
            if self._options.enter(path):
                self.found.extend(name for name, _ in walk(path, self._options, []))
        elif self._options.wanted(path) and os.path.lexists(path):
            self.found.append(path)

    def _search(self) -> None:
        start, top = time.monotonic(), str(self._options.folder)
        before, self._known = self._known, {}
        failures: list[OSError] = []
        for path, identity in walk(top, self._options, failures):
            self._known[path] = identity
            if before.get(path) != identity:
                self.found.append(path)
        for error in failures:
            text = "%s cannot be searched: %s; ramps in it are not seen. Check its permissions."
            self._warn(text, error.filename, error.strerror)
        # A single run is to see all ramps; else, what is in other folders is worth going on for.
        fatal = [one for one in failures if self._options.once or one.filename == top]
        self.failure = fatal[0] if fatal else None
        self.searches += 1
        now = time.monotonic()
        self._due = now + max(self._options.search_s, (now - start) / _SHARE)


def walk(
    folder: str, options: WatchOptions, failures: list[OSError]
) -> Iterator[tuple[str, Identity]]:
    """Yield the ramps in a folder and below, in the order of their names; add what fails."""
    folders: list[str] = []
    try:
        with os.scandir(folder) as entries:
            listing = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        if not isinstance(error, FileNotFoundError):
            failures.append(error)
        return
    for entry in listing:
        try:
            # Links to folders are not followed, as in a batch.
            if entry.is_dir(follow_symlinks=False):
                folders += [entry.path] if options.enter(entry.path) else []
            elif options.wanted(entry.path):
                yield entry.path, Identity.of(entry.stat())
        except OSError:
            continue  # gone meanwhile
    for below in folders:
        yield from walk(below, options, failures)
