"""Outputs that appear whole under their name, or not at all.

The bytes go into a file without a name in the output's own folder (``O_TMPFILE``): if the process
dies, the system itself forgets it and no debris is left. Only a complete file, flushed to the
disk, gets the name. Systems without nameless files (NFS and macOS, for two) get a hidden temporary
file beside the output instead.
"""

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from tmt_dq.errors import OutputError, TmtDqError
from tmt_dq.files.copying import write_all

_NAMELESS = getattr(os, "O_TMPFILE", 0)
"""0 where the system lacks it: a folder cannot be opened for writing."""
_DESCRIPTORS = Path("/proc/self/fd")
"""Where a nameless file can be given a name."""
_NO_NAMELESS_FILES = {errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL, errno.ENOSYS}
_NO_LINKS = {errno.EOPNOTSUPP, errno.EPERM, errno.ENOSYS}
_REPLACE = "Use --overwrite (overwrite=True) to replace it."
_HINTS = {
    errno.EACCES: "Check the permissions of its folder, or name another output.",
    errno.ENOSPC: "The disk is full: free some space or name an output elsewhere.",
    errno.EDQUOT: "The quota is used up: free some space or name an output elsewhere.",
    errno.EROFS: "The file system is read-only: name an output elsewhere.",
    errno.EFBIG: "The file system, or ulimit -f, does not allow files of this size.",
}


@contextlib.contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turn the system's errors while writing into `OutputError` that names the output."""
    try:
        yield
    except TmtDqError:
        raise  # of an input or a mask, with a class and a hint of its own
    except OSError as error:
        raise OutputError(
            f"cannot be written: {error.strerror or error}",
            where=path,
            hint=_HINTS.get(error.errno or 0, "Name another output."),
        ) from error


def check_output(path: Path, *, overwrite: bool = False, inputs: Iterable[Path] = ()) -> None:
    """Make sure, before any work, that an output can be written and is none of the inputs."""
    folder, other = path.parent, "Name another output."
    # A name that is too long, or a folder that may not be entered, is an error of the system.
    with output_errors(path):
        for wrong, what, hint in (
            (
                not folder.exists(),
                f"the folder {folder} does not exist",
                "Create it, or name another output.",
            ),
            (not folder.is_dir(), f"{folder} is not a folder", other),
            (not os.access(folder, os.W_OK | os.X_OK), f"{folder} is not writable", other),
            (path.is_dir(), "is a folder; expected a file name", "Name a file in it."),
            # A rename would replace even a device, where the user has the right to.
            (path.exists() and not path.is_file(), "is not a regular file", other),
        ):
            if wrong:
                raise OutputError(what, where=path, hint=hint)
        check_not_input(path, inputs)
        if not overwrite and (path.exists() or path.is_symlink()):
            raise OutputError("already exists", where=path, hint=_REPLACE)


def try_output(path: Path) -> None:
    """Make sure, before long work, that the system lets a file be made in an output's folder."""
    with output_errors(path):
        fd, hidden = _open(path)
        os.close(fd)
        if hidden is not None:
            hidden.unlink()


def check_not_input(path: Path, inputs: Iterable[Path]) -> None:
    """Raise `OutputError` if an output is one of the inputs, through any link."""
    for source in inputs:
        if path.exists() and source.exists() and path.samefile(source):
            raise OutputError(
                f"output and input {source} are the same file",
                where=path,
                hint="Inputs are never modified: name another output.",
            )


@contextlib.contextmanager
def atomic_output(
    path: Path, *, overwrite: bool = False, sync: bool = True, inputs: Iterable[Path] = ()
) -> Iterator[int]:
    """Yield the descriptor of a file that gets its name when the block ends well.

    Without `sync` a power failure (not a killed process) shortly after the end may leave an
    incomplete file. None of `inputs` may be the output.
    """
    check_output(path, overwrite=overwrite, inputs=inputs)
    with output_errors(path):
        fd, hidden = _open(path)
    try:
        yield fd
        with output_errors(path):
            if sync:
                os.fsync(fd)
            if overwrite:
                if hidden is None:  # a link cannot replace a name; a rename can
                    hidden = _hidden_name(path)
                    _give_name(fd, None, hidden)
                with contextlib.suppress(FileNotFoundError):
                    os.fchmod(fd, stat.S_IMODE(path.stat().st_mode))
                os.replace(hidden, path)
            else:
                try:
                    _give_name(fd, hidden, path)
                except FileExistsError:
                    raise OutputError(
                        "appeared while it was being written",
                        where=path,
                        hint="Another process writes the same output; this one left it alone.",
                    ) from None
            if sync:
                with _opened(path.parent) as folder:
                    os.fsync(folder)
    finally:
        os.close(fd)
        if hidden is not None:
            hidden.unlink(missing_ok=True)


def _open(path: Path) -> tuple[int, Path | None]:
    """Open a new file in an output's folder; return its descriptor, and its name if it has one."""
    try:
        nameless = _NAMELESS if _DESCRIPTORS.exists() else 0
        return os.open(path.parent, nameless | os.O_RDWR, 0o666), None
    except OSError as error:
        if error.errno not in _NO_NAMELESS_FILES:
            raise
    hidden = _hidden_name(path)
    return os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666), hidden


def _hidden_name(path: Path) -> Path:
    # Cut, so that what is added does not make a long name too long (255 bytes).
    name = os.fsdecode(os.fsencode(path.name)[:200])
    return path.with_name(f".{name}.{secrets.token_hex(4)}.part")


def _give_name(fd: int, hidden: Path | None, name: Path) -> None:
    """Give a file a name that must be free: a rename would replace one that appeared meanwhile."""
    if hidden is None:
        # src_dir_fd makes os.link call linkat(), whose flag follows the link in /proc.
        with _opened(_DESCRIPTORS) as folder:
            os.link(str(fd), name, src_dir_fd=folder, follow_symlinks=True)
        return
    try:
        os.link(hidden, name)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # No hard links here: claim the name first, then rename over the claim.
        os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        os.replace(hidden, name)


def write_file(path: Path, content: bytes, *, overwrite: bool = False, sync: bool = True) -> None:
    """Write a file whose content is in memory, whole or not at all."""
    with atomic_output(path, overwrite=overwrite, sync=sync) as fd, output_errors(path):
        write_all(fd, content, 0)


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int]:
    fd = os.open(folder, os.O_RDONLY)
    try:
        yield fd
    finally:
        os.close(fd)
