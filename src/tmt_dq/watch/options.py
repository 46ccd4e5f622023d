"""Options of a watch, checked once."""

import fnmatch
import math
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tmt_dq.batch.inputs import is_ramp_name
from tmt_dq.errors import ConfigError
from tmt_dq.files.urls import is_url, redacted
from tmt_dq.watch.completeness import Patience

__all__ = ["WatchOptions", "folder_of", "is_remote"]

PathLike = str | os.PathLike[str]

_SEARCH_S = 10.0
_POLL_S = 1.0
_REMOTE = re.compile(
    r"nfs\d?|cifs|smb\d?|smbfs|ncpfs|afs|coda|9p|lustre|gpfs|beegfs|ceph|ocfs2|gfs2|orangefs|pvfs2"
    r"|glusterfs|virtiofs|vboxsf|davfs|fuse\..*"
)
_MOUNTS = Path("/proc/self/mountinfo")


@dataclass(slots=True, kw_only=True)
class WatchOptions:
    """How a folder is watched; `watch_folder` describes the options.

    `apply` has the options of `tmt_dq.apply_dq`. `remote` tells whether other machines write to
    the file system, `events` whether the kernel is to report; `search_s` is the time between
    searches.
    """

    folder: Path
    output_dir: Path
    patterns: tuple[str, ...] = ()
    recursive: bool = True
    settle_s: float = 2.0
    stalled_s: float = 60.0
    poll_s: float | None = None
    once: bool = False
    grace_s: float = 20.0
    redo: bool = False
    overwrite: bool = False
    report: Path | None = None
    heartbeat: Path | None = None
    prometheus: str | None = None
    apply: Mapping[str, Any]
    remote: bool = field(init=False)
    events: bool = field(init=False)
    search_s: float = field(init=False)

    def __post_init__(self) -> None:
        for name in ("settle_s", "stalled_s", "poll_s", "grace_s"):
            value = getattr(self, name)
            if value is None:
                continue
            if not 0 <= value < math.inf or (name == "poll_s" and value == 0):
                raise ConfigError(f"{name} is {value}; expected a number of seconds, not negative")
        # Links are resolved: events and searches must agree in names.
        self.folder, self.output_dir = _watched(self.folder).resolve(), self.output_dir.resolve()
        self.remote = is_remote(self.folder)
        polling = self.poll_s is not None or self.remote
        self.events = not polling and not self.once
        self.search_s = (self.poll_s or _POLL_S) if polling else _SEARCH_S

    @property
    def patience(self) -> Patience:
        """How long to wait for what is not certain."""
        return Patience(self.settle_s, max(self.settle_s, self.stalled_s))

    def wanted(self, path: str) -> bool:
        """Tell whether a path is that of a ramp to work on, by its name."""
        if not is_ramp_name(path):
            return False
        parent, name = os.path.split(path)
        # The names of folders count too: an event may be about one that is not watched.
        if os.sep + "." in parent[len(str(self.folder)) :]:
            return False
        if parent != str(self.folder) and (not self.recursive or not self._outside_output(parent)):
            return False
        return not self.patterns or any(fnmatch.fnmatchcase(name, one) for one in self.patterns)

    def enter(self, path: str) -> bool:
        """Tell whether a folder below is watched."""
        hidden = os.path.basename(path).startswith(".")  # noqa: PTH119 - names are text here
        return self.recursive and not hidden and self._outside_output(path)

    def _outside_output(self, folder: str) -> bool:
        if self.folder not in self.output_dir.parents:
            return True
        own = str(self.output_dir)
        return folder != own and not folder.startswith(own + os.sep)


def folder_of(place: PathLike) -> Path:
    """Return a folder that must be on this machine."""
    if is_url(place):
        raise ConfigError(
            "is a URL; expected a folder that this machine sees",
            where=redacted(str(place)),
            hint="Mount it, or run tmt-dq batch from time to time, which takes URLs.",
        )
    return Path(place)


def _watched(path: Path) -> Path:
    """Return the watched folder, which must be there."""
    try:
        reason = None if stat.S_ISDIR(os.stat(path).st_mode) else "is not a folder"
    except FileNotFoundError:
        reason = "there is no such folder"
    except OSError as error:
        reason = f"cannot be examined: {error.strerror}"
    if reason is not None:
        hint = "Name the folder in which ramps arrive; check the permissions of those above it."
        raise ConfigError(reason, where=path, hint=hint)
    return path


def is_remote(folder: Path, *, mounts: Path = _MOUNTS) -> bool:
    """Tell whether a folder is on a file system that other machines write to.

    There the kernel reports no new files. False also where the mounts cannot be read.
    """
    try:
        place = os.fsencode(folder.resolve()).decode("latin-1")
        lines = mounts.read_text("latin-1").splitlines()
    except OSError:
        return False
    best, kind = -1, ""
    for line in lines:
        fields, _, rest = line.partition(" - ")
        point = re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), fields.split(" ")[4])
        inside = place == point or place.startswith(point.rstrip("/") + "/")
        # The longest mount point counts; of several mounts at one place the last hides the others.
        if inside and len(point) >= best:
            best, kind = len(point), rest.split(" ")[0]
    return _REMOTE.fullmatch(kind) is not None
