"""File systems that other machines write to: there the kernel reports no new files."""

import os
import re
from pathlib import Path

__all__ = ["is_remote"]

_REMOTE = re.compile(
    r"nfs\d?|cifs|smb\d?|smbfs|ncpfs|afs|coda|9p|lustre|gpfs|beegfs|ceph|ocfs2|gfs2|orangefs|pvfs2"
    r"|glusterfs|virtiofs|vboxsf|davfs|fuse\..*"
)
_MOUNTS = Path("/proc/self/mountinfo")


def is_remote(folder: Path, *, mounts: Path = _MOUNTS) -> bool:
    """Tell whether a folder is on NFS, SMB, a cluster file system, FUSE, or shared with a host.

    False also where the system's list of mounts cannot be read.
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
