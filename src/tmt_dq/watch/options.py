"""Options of a watch, checked once."""

import fnmatch
import math
import os
import re
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any

from tmt_dq.batch.inputs import is_ramp_name
from tmt_dq.errors import ConfigError
from tmt_dq.files.urls import is_url, redacted
from tmt_dq.watch.completeness import Wait

PathLike = str | os.PathLike[str]

_SEARCH_S, _REMOTE_SEARCH_S = 0.1, 1.0
_REMOTE = re.compile(
    r"nfs\d?|cifs|smb\d?|smbfs|ncpfs|afs|coda|9p|lustre|gpfs|beegfs|ceph|ocfs2|gfs2|orangefs|pvfs2"
    r"|glusterfs|virtiofs|vboxsf|davfs|fuse\..*"
)
_MOUNTS = Path("/proc/self/mountinfo")


@dataclass(slots=True)
class WatchOptions:
    """How a folder is watched; `watch_folder` describes the options.

    `apply` has the options of `tmt_dq.apply_dq`. `remote` tells whether other machines write to
    the file system; `search_s` is the time between searches.
    """

    folder: Path
    output_dir: Path
    _: KW_ONLY
    patterns: tuple[str, ...] = ()
    recursive: bool = True
    jobs: int | None = None
    settle_s: float = 2.0
    stalled_s: float = 60.0
    poll_s: float | None = None
    once: bool = False
    grace_s: float = 20.0
    redo: bool = False
    overwrite: bool = False
    heartbeat: PathLike | None = None
    prometheus: str | None = None
    apply: Mapping[str, Any]
    remote: bool = field(init=False)
    search_s: float = field(init=False)

    def __post_init__(self) -> None:
        for name in ("settle_s", "stalled_s", "poll_s", "grace_s"):
            value = getattr(self, name)
            if value is not None and not (0 <= value < math.inf and (value or name != "poll_s")):
                raise ConfigError(f"{name} is {value}; expected a number of seconds, not negative")
        if self.jobs is not None and self.jobs < 1:
            raise ConfigError(f"jobs is {self.jobs}; expected at least 1")
        self.folder, self.output_dir = self.folder.resolve(), self.output_dir.resolve()
        if not os.path.isdir(self.folder):  # noqa: PTH112 - Path's raises where a folder is closed
            hint = "Name the folder in which ramps arrive; check the permissions of those above it."
            raise ConfigError("is not a folder that can be read", where=self.folder, hint=hint)
        self.remote = is_remote(self.folder)
        self.search_s = self.poll_s or (_REMOTE_SEARCH_S if self.remote else _SEARCH_S)

    @property
    def patience_s(self) -> dict[Wait, float]:
        """Seconds that a file must be unchanged, for each way to wait."""
        return {"no": 0.0, "settle": self.settle_s, "stalled": max(self.settle_s, self.stalled_s)}

    def wanted(self, path: str) -> bool:
        """Tell whether a path is that of a ramp to work on, by its name."""
        if not is_ramp_name(path):
            return False
        name = os.path.basename(path)  # noqa: PTH119 - names are text here
        return not self.patterns or any(fnmatch.fnmatchcase(name, one) for one in self.patterns)


def local_folder(place: PathLike) -> Path:
    """Return a folder that must be on this machine."""
    if is_url(place):
        what = "is a URL; expected a folder that this machine sees"
        hint = "Mount it, or run tmt-dq batch from time to time, which takes URLs."
        raise ConfigError(what, where=redacted(str(place)), hint=hint)
    return Path(place)


def is_remote(folder: Path, *, mounts: Path = _MOUNTS) -> bool:
    """Tell whether other machines write to a file system; False also if that is unknown."""
    try:
        device = folder.stat().st_dev
        lines = mounts.read_text("latin-1").splitlines()
    except OSError:
        return False
    number = f"{os.major(device)}:{os.minor(device)}"
    fields = [line.split(" ") for line in lines]
    kinds = [one[one.index("-") + 1] for one in fields if one[2] == number]
    return any(_REMOTE.fullmatch(kind) for kind in kinds)
