"""What can be said about a watch, checked once."""

import errno
import fnmatch
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tmt_dq.batch.inputs import is_ramp_name
from tmt_dq.errors import ConfigError, OutputError
from tmt_dq.files.urls import is_url, redacted
from tmt_dq.watch.completeness import Patience
from tmt_dq.watch.mounts import is_remote

__all__ = ["WatchOptions", "make_options"]

PathLike = str | os.PathLike[str]

_SEARCH_S = 10.0
_POLL_S = 1.0


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """How a folder is watched.

    Parameters
    ----------
    folder, output_dir : Path
        Absolute.
    patterns : tuple of str
        Shell patterns, of which a ramp's name must match one; none for all FITS files.
    recursive : bool
        Whether folders below are watched too.
    patience : Patience
        How long to wait for what is not certain.
    search_s : float
        Seconds between searches of the folder.
    events : bool
        Whether the kernel is asked about new files.
    remote : bool
        Whether the folder is on a file system that other machines write to.
    once : bool
        Whether to end when all is done that is complete.
    grace_s : float
        Seconds that work may go on after the request to stop.
    redo, overwrite : bool
        What is done about outputs that are there; see `watch_folder`.
    report, heartbeat : Path or None
        Files to write.
    prometheus : str or None
        Address to serve metrics at.
    apply : mapping
        Options of `tmt_dq.apply_dq`.
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
    """Check the options of `watch_folder`, which describes them.

    Returns
    -------
    WatchOptions
        The options, made explicit.

    Raises
    ------
    ConfigError
        Raised if one makes no sense, or the folder is not there.
    OutputError
        Raised if the output folder cannot be made.
    """
    times = {"settle_s": settle_s, "stalled_s": stalled_s, "grace_s": grace_s}
    if poll_s is not None:
        times["poll_s"] = poll_s
    for name, value in times.items():
        if not 0 <= value < math.inf or (name == "poll_s" and value == 0):
            raise ConfigError(f"{name} is {value}; expected a number of seconds, not negative")
    for place in (folder, output_dir):
        if is_url(place):
            raise ConfigError(
                "is a URL; expected a folder that this machine sees",
                where=redacted(str(place)),
                hint="Mount it, or run tmt-dq batch from time to time, which takes URLs.",
            )
    # Links resolved: the kernel and the searches must call a file by the same name.
    watched, out = Path(folder).absolute(), Path(output_dir).absolute()
    if not watched.is_dir():
        raise ConfigError(
            "is not a folder" if watched.exists() else "there is no such folder",
            where=folder,
            hint="Name the folder in which ramps arrive.",
        )
    try:
        if make_folder:
            out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"the folder cannot be made: {error.strerror}",
            where=out,
            hint="Name another --output-dir.",
        ) from error
    if heartbeat is not None and make_folder:
        _check_heartbeat(Path(heartbeat))
    watched, out = watched.resolve(), out.resolve()
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
