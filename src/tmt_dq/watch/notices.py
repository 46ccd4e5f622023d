"""Who tells that something happened in a folder: the kernel, and searches from time to time.

Both run in threads of their own and put names into one queue. A search finds what the kernel did
not tell: what came before the watch began, what it dropped because its queue was full, what other
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
from pathlib import Path

from tmt_dq.errors import ConfigError
from tmt_dq.watch.completeness import Identity

__all__ = ["Notices"]

log = logging.getLogger(__name__)

_STEP_MS = 10
_DEBOUNCE_MS = 20
_READY_MS = 250
_LISTEN_AGAIN_S = 0.5
_SHARE = 0.02
"""Searches of a large folder may take this part of the time."""
_BACKLOG = 256


class Notices:
    """Names of files that came or changed, from wherever they are known.

    Parameters
    ----------
    folder : Path
        The folder to watch.
    wanted : callable
        Whether a path is that of a ramp, by its name alone.
    enter : callable
        Whether a folder below is watched too.
    ring : callable
        Called, from any thread, when there is something.
    search_s : float
        Seconds between searches, at least.
    events : bool
        Whether the kernel is asked.
    """

    def __init__(
        self,
        folder: Path,
        *,
        wanted: Callable[[str], bool],
        enter: Callable[[str], bool],
        ring: Callable[[], None],
        search_s: float,
        events: bool,
    ) -> None:
        self._folder = os.fspath(folder)
        self._wanted = wanted
        self._enter = enter
        self._ring = ring
        self._search_s = search_s
        self._live: deque[str] = deque()
        self._found: deque[str] = deque()
        self._known: dict[str, Identity] = {}
        self._request = threading.Event()
        self._end = threading.Event()
        self._unreadable: dict[str, str] = {}
        self.failure: OSError | None = None
        self.searches = 0
        self.searched_at = 0.0
        self.events = events
        self._threads = [threading.Thread(target=self._search_loop, daemon=True, name="search")]
        if events:
            _import_watchfiles()
            self._threads.append(
                threading.Thread(target=self._listen_loop, daemon=True, name="listen")
            )

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

    def search(self, *, everything: bool = False) -> None:
        """Search the folder now; `everything`, as if nothing were known of it."""
        if everything:
            self._known = {}
        self._request.set()

    @property
    def all_told(self) -> bool:
        """Whether the folder was searched, and all that was found was taken."""
        # In this order: a search counts when all that it found is in the queue.
        return self.searches > 0 and not self.more

    @property
    def more(self) -> bool:
        """Whether there is something to take."""
        return bool(self._live or self._found)

    def take(self, limit: int) -> Iterator[tuple[str, bool]]:
        """Yield what was noticed: the path, and whether it was seen when it happened.

        All that was seen comes first, then what was found when the folder was searched first: no
        more than `limit` of these, so that half a million of them hold up nothing.
        """
        while self._live:
            yield self._live.popleft(), True
        for _ in range(min(limit, len(self._found))):
            yield self._found.popleft(), False

    def _tell(self, path: str, *, live: bool) -> None:
        (self._live if live else self._found).append(path)

    # --- the kernel -----------------------------------------------------------------------------

    def _listen_loop(self) -> None:
        said, pause = "", _LISTEN_AGAIN_S
        while not self._end.is_set():
            try:
                self._listen()
            except FileNotFoundError:
                pass  # said by the service, which looks after the folder
            except Exception as error:  # noqa: BLE001 - searches go on, whatever it is
                # A single name that is no text ends it, too, and is found by a search.
                if str(error) != said:
                    said = str(error)
                    log.warning(
                        "the kernel does not tell about new files (%s); the folder is searched now "
                        "and every %.1f s, until the kernel can be asked again",
                        error,
                        self._search_s,
                    )
                if self.events:
                    self.events, pause = False, _LISTEN_AGAIN_S / 2
                self._request.set()
            # It goes on soon after what passes; it does not ask all the time in vain.
            pause = _LISTEN_AGAIN_S if self.events else min(2 * pause, self._search_s)
            self._end.wait(pause)

    def _listen(self) -> None:
        """Pass on what the kernel tells, until the folder is another one or gone."""
        from watchfiles import watch

        told_of = _inode(self._folder)
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
                # Only now is the watch known to be set: what came before is searched for.
                ready = self.events = True
                self._request.set()
            for change, path in changes:
                if change.name != "deleted":
                    self._happened(path)
            if changes:
                self._ring()
            if _inode(self._folder) != told_of:
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
            if self._wanted(path):
                self._tell(path, live=True)
        elif self._enter(path):
            # What was in it before the kernel watched it is not told.
            with contextlib.suppress(OSError):
                for found, _ in self._walk(path):
                    self._tell(found, live=True)

    # --- searches -------------------------------------------------------------------------------

    def _search_loop(self) -> None:
        pause = 0.0
        while not self._end.is_set():
            self._request.wait(pause)
            self._request.clear()
            if self._end.is_set():
                return
            start = time.monotonic()
            self._search()
            taken = time.monotonic() - start
            pause = self._search_s if not self.events else max(self._search_s, taken / _SHARE)

    def _search(self) -> None:
        before, found = self._known, {}
        # What is there when a watch begins did not come just now.
        live = self.searches > 0
        told = 0
        try:
            for path, identity in self._walk(self._folder):
                found[path] = identity
                if before.get(path) != identity:
                    self._tell(path, live=live)
                    told += 1
                    if told % _BACKLOG == 0:
                        self._ring()
                if self._end.is_set():
                    return
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                self._say_unreadable(self._folder, error)
            self.failure = error
            self._ring()
            return
        self.failure = None
        if self._known is before:
            self._known = found
        self.searches += 1
        self.searched_at = time.time()
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
                    if self._enter(entry.path):
                        folders.append(entry.path)
                elif self._wanted(entry.path):
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
                self._say_unreadable(below, error)

    def _say_unreadable(self, folder: str, error: OSError) -> None:
        """Say once that what arrives in a folder is not seen."""
        if self._unreadable.get(folder) != str(error):
            self._unreadable[folder] = str(error)
            log.warning(
                "%s cannot be searched: %s; what is in it is not seen. Check its rights.",
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
