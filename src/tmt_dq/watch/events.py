"""Events in a folder: from the kernel (watchfiles), and from searches from time to time.

Both run in threads of their own and put names into one queue. A search finds what the kernel did
not report: what came before the watch began, what was dropped because a queue was full, what other
machines did, and what lay in a folder before the folder was watched.
"""

import contextlib
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

__all__ = ["Events"]

log = logging.getLogger(__name__)

_STEP_MS = 10
_DEBOUNCE_MS = 20
_READY_MS = 250
_LISTEN_AGAIN_S = 0.5
_SHARE = 0.02
"""Searches of a large folder may take this part of the time."""
_BACKLOG = 256


class Events:
    """Names of files that came or changed; `ring` is called, from any thread, when there are some.

    `searches` counts finished searches, `failure` is why the last one did not finish, `listening`
    tells whether the kernel reports.
    """

    def __init__(self, options: WatchOptions, ring: Callable[[], None]) -> None:
        self._folder = os.fspath(options.folder)
        self._options = options
        self._ring = ring
        self._live: deque[str] = deque()
        self._found: deque[str] = deque()
        self._known: dict[str, Identity] = {}
        self._request = threading.Event()
        self._end = threading.Event()
        self._unreadable: dict[str, str] = {}
        self.failure: OSError | None = None
        self.searches = 0
        self.listening = options.events
        loops = [self._search_loop]
        if options.events:
            _import_watchfiles()
            loops.append(self._listen_loop)
        self._threads = [threading.Thread(target=loop, daemon=True) for loop in loops]

    def start(self) -> None:
        """Begin to listen and to search."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the threads."""
        self._end.set()
        self._request.set()
        for thread in self._threads:
            thread.join(2)

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

        All of these come first, then what was found when the folder was searched first: no more
        than `limit` of them, so that half a million hold up nothing.
        """
        while self._live:
            yield self._live.popleft(), True
        for _ in range(min(limit, len(self._found))):
            yield self._found.popleft(), False

    def _listen_loop(self) -> None:
        shown, pause = "", _LISTEN_AGAIN_S
        while not self._end.is_set():
            try:
                self._listen()
            except FileNotFoundError:
                pass  # the service looks after the folder
            except Exception as error:  # noqa: BLE001 - searches go on, whatever it is
                # A single name that is no text ends it, too, and is found by a search.
                if str(error) != shown:
                    shown = str(error)
                    log.warning(
                        "file-system events are not available (%s); the folder is searched now and "
                        "every %.1f s, until they are again",
                        error,
                        self._options.search_s,
                    )
                if self.listening:
                    self.listening, pause = False, _LISTEN_AGAIN_S / 2
                self._request.set()
            # It goes on soon after what passes; it does not try all the time in vain.
            pause = _LISTEN_AGAIN_S if self.listening else min(2 * pause, self._options.search_s)
            self._end.wait(pause)

    def _listen(self) -> None:
        """Pass on what the kernel reports, until the folder is another one or gone."""
        from watchfiles import watch

        watched = _inode(self._folder)
        ready = False
        for changes in watch(
            self._folder,
            watch_filter=None,
            step=_STEP_MS,
            debounce=_DEBOUNCE_MS,
            rust_timeout=_READY_MS,
            yield_on_timeout=True,
            stop_event=self._end,
            raise_interrupt=False,
            ignore_permission_denied=True,
        ):
            if not ready:
                # Only now is the kernel known to report: what came before is searched for.
                ready = self.listening = True
                self._request.set()
            for change, path in changes:
                if change.name != "deleted":
                    self._happened(path)
            if changes:
                self._ring()
            if _inode(self._folder) != watched:
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
            with contextlib.suppress(OSError):
                self._live.extend(found for found, _ in self._walk(path))

    def _search_loop(self) -> None:
        pause = 0.0
        while not self._end.is_set():
            self._request.wait(pause)
            self._request.clear()
            start = time.monotonic()
            self._search()
            taken = time.monotonic() - start
            rest = taken / _SHARE if self.listening else 0.0
            pause = max(self._options.search_s, rest)

    def _search(self) -> None:
        before, found = self._known, {}
        # What is there when a watch begins did not come just now.
        queue = self._live if self.searches else self._found
        try:
            for path, identity in self._walk(self._folder):
                found[path] = identity
                if before.get(path) != identity:
                    queue.append(path)
                    if len(queue) % _BACKLOG == 0:
                        self._ring()
                if self._end.is_set():
                    return
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                self._warn_unreadable(self._folder, error)
            self.failure = error
        else:
            self.failure = None
            if self._known is before:
                self._known = found
            self.searches += 1
        self._ring()

    def _walk(self, folder: str) -> Iterator[tuple[str, Identity]]:
        """Yield the ramps below a folder, in the order of their names."""
        folders: list[str] = []
        with os.scandir(folder) as entries:
            listing = sorted(entries, key=lambda entry: entry.name)
        if self._unreadable.pop(folder, None) is not None:
            log.warning("%s can be searched again", folder)
        for entry in listing:
            try:
                # Links to folders are not followed, as in a batch.
                if entry.is_dir(follow_symlinks=False):
                    if self._options.enter(entry.path):
                        folders.append(entry.path)
                elif self._options.wanted(entry.path):
                    status = entry.stat()
                    identity = Identity(status.st_size, status.st_mtime_ns, status.st_ino)
                    yield entry.path, identity
            except OSError:
                continue  # gone meanwhile
        for below in folders:
            try:
                yield from self._walk(below)
            except FileNotFoundError:
                continue
            except OSError as error:
                self._warn_unreadable(below, error)

    def _warn_unreadable(self, folder: str, error: OSError) -> None:
        """Warn once that ramps in a folder are not seen."""
        if self._unreadable.get(folder) != str(error):
            self._unreadable[folder] = str(error)
            log.warning(
                "%s cannot be searched: %s; ramps in it are not seen. Check its permissions.",
                folder,
                error.strerror,
            )


def _import_watchfiles() -> None:
    try:
        import watchfiles  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            "watchfiles is not installed",
            hint='Install it with `pip install "tmt-dq[watch]"`, or search with --poll SECONDS.',
        ) from error


def _inode(folder: str) -> tuple[int, int] | None:
    try:
        status = os.stat(folder)
    except OSError:
        return None
    return status.st_dev, status.st_ino
