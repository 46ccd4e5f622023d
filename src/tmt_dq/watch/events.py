"""Events in a folder: from the kernel (watchfiles), and from searches from time to time.

A search finds what the kernel did not report: what came before the watch began, what was dropped
because a queue was full, what other machines did, and what lay in a folder before the folder was
watched.
"""

import logging
import os
import stat
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

from tmt_dq.errors import ConfigError
from tmt_dq.watch.completeness import Identity
from tmt_dq.watch.options import WatchOptions

__all__ = ["Events", "walk"]

log = logging.getLogger(__name__)

_STEP_MS = 10
_DEBOUNCE_MS = 20
_TIMEOUT_MS = 250
_AGAIN_S = 0.25
_SHARE = 0.02
"""Searches of a large folder may take this part of the time."""
_BACKLOG = 256


class Events:
    """Names of files that came or changed; `ring` is called, from a thread, when there are some.

    `searches` counts finished searches, `failure` is why the last one did not finish, `listening`
    tells whether the kernel reports.
    """

    def __init__(self, options: WatchOptions, ring: Callable[[], None]) -> None:
        self._options = options
        self._ring = ring
        self._live: deque[str] = deque()
        self._found: deque[str] = deque()
        self._known: dict[str, Identity] = {}
        self._request = threading.Event()
        self._end = threading.Event()
        self._due = 0.0
        self._pause = _AGAIN_S
        self._warned: set[str] = set()
        self.failure: OSError | None = None
        self.searches = 0
        self.listening = options.events
        if options.events:
            _import_watchfiles()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin to listen and to search."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._end.set()
        self._request.set()
        self._thread.join(2)

    def search(self) -> None:
        """Search the folder now, as if nothing were known of it."""
        self._known = {}
        self._request.set()

    @property
    def more(self) -> bool:
        """Whether there is something to take."""
        return bool(self._live or self._found)

    def take(self, limit: int) -> Iterator[tuple[str, bool]]:
        """Yield names, and whether they were noticed when it happened.

        All of these come first, then what the first search found: no more than `limit` of them, so
        that half a million hold up nothing.
        """
        while self._live:
            yield self._live.popleft(), True
        for _ in range(min(limit, len(self._found))):
            yield self._found.popleft(), False

    def _run(self) -> None:
        while not self._end.is_set():
            if not self._options.events:
                self._search()
                self._request.wait(self._options.search_s)
                continue
            try:
                self._listen()
            except Exception as error:  # noqa: BLE001 - searches go on, whatever it is
                # A single name that is no text ends it, too, and is found by a search.
                self.listening = False
                if not isinstance(error, FileNotFoundError):  # the service looks after the folder
                    self._warn(
                        f"file-system events are not available ({error}); the folder is searched "
                        f"now and every {self._options.search_s:.1f} s, until they are again"
                    )
                self._search()
            # It goes on soon after what passes; it does not try all the time in vain.
            self._end.wait(self._pause)
            self._pause = min(2 * self._pause, self._options.search_s)

    def _listen(self) -> None:
        """Take what the kernel reports, and search now and then, until the folder is gone."""
        from watchfiles import watch

        watched = _inode(self._options.folder)
        self._due = 0.0
        for changes in watch(
            self._options.folder,
            watch_filter=None,
            step=_STEP_MS,
            debounce=_DEBOUNCE_MS,
            rust_timeout=_TIMEOUT_MS,
            yield_on_timeout=True,
            stop_event=self._end,
            raise_interrupt=False,
            ignore_permission_denied=True,
        ):
            self.listening, self._pause = True, _AGAIN_S
            for change, path in changes:
                if change.name != "deleted":
                    self._happened(path)
            if changes:
                self._ring()
            # Only now is the kernel known to report: what came before is searched for.
            if time.monotonic() >= self._due or self._request.is_set():
                self._search()
            if _inode(self._options.folder) != watched:
                return

    def _happened(self, path: str) -> None:
        try:
            is_folder = stat.S_ISDIR(os.lstat(path).st_mode)
        except (OSError, ValueError):
            return  # gone meanwhile
        place = os.path.dirname(path)  # noqa: PTH120 - names are text here
        if os.path.realpath(place) != place:
            return  # the kernel follows links to folders; searches do not, and batches
        if not is_folder:
            if self._options.wanted(path):
                self._live.append(path)
        elif self._options.enter(path):
            # What was in it before the kernel watched it is not reported.
            self._live.extend(found for found, _ in walk(path, self._options, self._unreadable))

    def _search(self) -> None:
        self._request.clear()
        start = time.monotonic()
        before, found = self._known, {}
        # What is there when a watch begins did not come just now.
        queue = self._live if self.searches else self._found
        failures: list[OSError] = []
        for path, identity in walk(str(self._options.folder), self._options, failures.append):
            found[path] = identity
            if before.get(path) != identity:
                queue.append(path)
                if len(queue) % _BACKLOG == 0:
                    self._ring()
            if self._end.is_set():
                return
        for error in failures:
            self._unreadable(error)
        # A single run is to see all ramps; else, what is in other folders is worth going on for.
        top, once = str(self._options.folder), self._options.once
        fatal = [
            error
            for error in failures
            if error.filename == top or (once and not isinstance(error, FileNotFoundError))
        ]
        self.failure = fatal[0] if fatal else None
        if not fatal:
            if self._known is before:
                self._known = found
            self.searches += 1
        now = time.monotonic()
        self._due = now + max(self._options.search_s, (now - start) / _SHARE)
        self._ring()

    def _unreadable(self, error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            self._warn(
                f"{error.filename} cannot be searched: {error.strerror}; ramps in it are not seen. "
                "Check its permissions."
            )

    def _warn(self, text: str) -> None:
        """Log a warning once."""
        if text not in self._warned:
            self._warned.add(text)
            log.warning("%s", text)


def walk(
    folder: str, options: WatchOptions, on_error: Callable[[OSError], None]
) -> Iterator[tuple[str, Identity]]:
    """Yield the ramps in a folder and below, in the order of their names."""
    folders: list[str] = []
    try:
        with os.scandir(folder) as entries:
            listing = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        on_error(error)
        return
    for entry in listing:
        try:
            # Links to folders are not followed, as in a batch.
            if entry.is_dir(follow_symlinks=False):
                if options.enter(entry.path):
                    folders.append(entry.path)
            elif options.wanted(entry.path):
                status = entry.stat()
                yield entry.path, Identity(status.st_size, status.st_mtime_ns, status.st_ino)
        except OSError:
            continue  # gone meanwhile
    for below in folders:
        yield from walk(below, options, on_error)


def _import_watchfiles() -> None:
    try:
        import watchfiles  # noqa: F401 - whether it is there
    except ImportError as error:
        raise ConfigError(
            "watchfiles is not installed",
            hint="Run: pip install watchfiles, or search with --poll SECONDS.",
        ) from error


def _inode(folder: os.PathLike[str]) -> tuple[int, int] | None:
    try:
        status = os.stat(folder)
    except OSError:
        return None
    return status.st_dev, status.st_ino
