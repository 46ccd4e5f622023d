"""Options of a watch, checked once."""

import errno
import fnmatch
import math
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tmt_dq.batch.inputs import is_ramp_name
from tmt_dq.errors import ConfigError, OutputError
from tmt_dq.files.urls import is_url, redacted
from tmt_dq.watch.completeness import Patience
from tmt_dq.watch.file_systems import is_remote

__all__ = ["WatchOptions", "make_options"]

PathLike = str | os.PathLike[str]

_SEARCH_S = 10.0
_POLL_S = 1.0


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """How a folder is watched; `watch_folder` describes the options.

    `search_s` is the time between searches, `events` tells whether the kernel is asked, `remote`
    whether other machines write to the file system, `apply` has the options of `tmt_dq.apply_dq`.
    """

    folder: Path
    output_dir: Path
    patterns: tuple[str, ...]
    recursive: bool
    patience: Patience
    search_s: float
    events: bool
    remote: bool
    once: bool
    grace_s: float
    redo: bool
    overwrite: bool
    report: Path | None
    heartbeat: Path | None
    prometheus: str | None
    apply: Mapping[str, Any]

    def wanted(self, path: str) -> bool:
        """Tell whether a path is that of a ramp to work on, by its name."""
        if not is_ramp_name(path):
            return False
        parent = os.path.dirname(path)  # noqa: PTH120 - names are text here
        # The names of folders count too: an event may be about one that is not watched.
        if os.sep + "." in parent[len(str(self.folder)) :]:
            return False
        if parent != str(self.folder) and (not self.recursive or not self._outside_output(parent)):
            return False
        name = os.path.basename(path)  # noqa: PTH119
        return not self.patterns or any(fnmatch.fnmatchcase(name, one) for one in self.patterns)

    def enter(self, path: str) -> bool:
        """Tell whether a folder below is watched."""
        hidden = os.path.basename(path).startswith(".")  # noqa: PTH119
        return self.recursive and not hidden and self._outside_output(path)

    def _outside_output(self, folder: str) -> bool:
        if self.folder not in self.output_dir.parents:
            return True
        own = str(self.output_dir)
        return folder != own and not folder.startswith(own + os.sep)


def make_options(  # noqa: PLR0913 - the options of the verb, keyword-only
    folder: PathLike,
    *,
    output_dir: PathLike,
    patterns: Iterable[str] = (),
    recursive: bool = True,
    settle_s: float = 2.0,
    stalled_s: float = 60.0,
    poll_s: float | None = None,
    once: bool = False,
    grace_s: float = 20.0,
    redo: bool = False,
    overwrite: bool = False,
    report: PathLike | None = None,
    heartbeat: PathLike | None = None,
    prometheus: str | None = None,
    make_folder: bool = True,
    apply: Mapping[str, Any],
) -> WatchOptions:
    """Check the options of `watch_folder` and make them explicit; make the output folder.

    Raises `ConfigError` if one makes no sense or the folder is not there, `OutputError` if the
    output folder cannot be made or the heartbeat not be written.
    """
    times = {"settle_s": settle_s, "stalled_s": stalled_s, "grace_s": grace_s}
    if poll_s is not None:
        times["poll_s"] = poll_s
    for name, value in times.items():
        if not 0 <= value < math.inf or (name == "poll_s" and value == 0):
            raise ConfigError(f"{name} is {value}; expected a number of seconds, not negative")
    watched, out = _folders(folder, output_dir, make_folder=make_folder)
    if heartbeat is not None and make_folder:
        _check_heartbeat(Path(heartbeat))
    remote = is_remote(watched)
    polling = poll_s is not None or remote
    chosen = _POLL_S if poll_s is None else poll_s
    return WatchOptions(
        folder=watched,
        output_dir=out,
        patterns=tuple(patterns),
        recursive=recursive,
        patience=Patience(settle_s, max(settle_s, stalled_s)),
        search_s=chosen if polling else _SEARCH_S,
        events=not polling and not once,
        remote=remote,
        once=once,
        grace_s=grace_s,
        redo=redo,
        overwrite=overwrite,
        report=None if report is None else Path(report).absolute(),
        heartbeat=None if heartbeat is None else Path(heartbeat).absolute(),
        prometheus=prometheus,
        apply=apply,
    )


def _folders(folder: PathLike, output_dir: PathLike, *, make_folder: bool) -> tuple[Path, Path]:
    """Return both folders with links resolved: events and searches must agree in names."""
    for place in (folder, output_dir):
        if is_url(place):
            raise ConfigError(
                "is a URL; expected a folder that this machine sees",
                where=redacted(str(place)),
                hint="Mount it, or run tmt-dq batch from time to time, which takes URLs.",
            )
    watched, out = Path(folder).absolute(), Path(output_dir).absolute()
    try:
        reason = None if stat.S_ISDIR(os.stat(watched).st_mode) else "is not a folder"
    except FileNotFoundError:
        reason = "there is no such folder"
    except OSError as error:
        reason = f"cannot be examined: {error.strerror}"
    if reason is not None:
        hint = "Name the folder in which ramps arrive; check the permissions of those above it."
        raise ConfigError(reason, where=folder, hint=hint)
    try:
        if make_folder:
            out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"the folder cannot be made: {error.strerror}",
            where=out,
            hint="Name another --output-dir.",
        ) from error
    return watched.resolve(), out.resolve()


def _check_heartbeat(path: Path) -> None:
    """Find out now what would leave the watch unwatched for a night."""
    reason = None
    if path.is_dir():
        reason = os.strerror(errno.EISDIR)
    elif path.exists() and not path.is_file():
        reason = "it is not a regular file"
    elif not path.absolute().parent.is_dir():
        reason = os.strerror(errno.ENOENT)
    if reason is not None:
        raise OutputError(
            f"the heartbeat cannot be written: {reason}",
            where=path,
            hint="Name a file in a folder that is there.",
        )
