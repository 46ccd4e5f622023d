"""Which file systems other machines write to: there the kernel tells nobody about new files."""

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
    """Tell whether a folder is on a file system that other machines may write to.

    Parameters
    ----------
    folder : Path
        The folder.
    mounts : Path
        The system's list of mounts.

    Returns
    -------
    bool
        True for NFS, SMB, cluster file systems, FUSE and what virtual machines share; False also
        where the list of mounts cannot be read.
    """
    kind = _kind(folder, mounts)
    return kind is not None and _REMOTE.fullmatch(kind) is not None


def _kind(folder: Path, mounts: Path) -> str | None:
    """Return the type of the file system, by the longest mount point above the folder."""
    try:
        place = os.fsencode(folder.resolve()).decode("latin-1")
        lines = mounts.read_text("latin-1").splitlines()
    except OSError:
        return None
    best, kind = -1, None
    for line in lines:
        fields, _, rest = line.partition(" - ")
        point = re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), fields.split(" ")[4])
        inside = place == point or place.startswith(point.rstrip("/") + "/")
        # Of several mounts at one place the last hides the others.
        if inside and len(point) >= best:
            best, kind = len(point), rest.split(" ")[0]
    return kind
