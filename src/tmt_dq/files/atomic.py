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
from types import TracebackType
from typing import Self

from tmt_dq.errors import OutputError, TmtDqError
from tmt_dq.files.copying import write_all

__all__ = ["AtomicOutput", "check_not_input", "check_output", "output_errors", "write_file"]

_NAMELESS = getattr(os, "O_TMPFILE", 0)
"""0 where the system lacks it: a folder cannot be opened for writing."""
_DESCRIPTORS = Path("/proc/self/fd")
"""Where a nameless file can be given a name."""
_NO_NAMELESS_FILES = {errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL, errno.ENOSYS}
_NO_LINKS = {errno.EOPNOTSUPP, errno.EPERM, errno.ENOSYS}
_REPLACE = "Use --overwrite (overwrite=True) to replace it."
_HINTS = {
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
            hint=_HINTS.get(error.errno or 0, "Name another output, or find out why."),
        ) from error


def check_output(path: Path, *, overwrite: bool = False, inputs: Iterable[Path] = ()) -> None:
    """Make sure, before any work, that an output can be written and is none of the inputs."""
    folder = path.parent
    # A name that is too long, or a folder that may not be entered, is an error of the system.
    with output_errors(path):
        if not folder.is_dir():
            exists = folder.exists()
            what = f"{folder} is not a folder" if exists else f"the folder {folder} does not exist"
            raise OutputError(what, where=path, hint="Create it, or name another output.")
        if not os.access(folder, os.W_OK | os.X_OK):
            what = f"the folder {folder} is not writable"
            raise OutputError(what, where=path, hint="Name an output elsewhere.")
        if path.is_dir():
            what = "is a folder; expected a file name"
            raise OutputError(what, where=path, hint="Name a file in it.")
        if path.exists() and not path.is_file():
            # A rename would replace even a device, where the user has the right to.
            what = "is not a regular file; expected a file name"
            raise OutputError(what, where=path, hint="Name another output.")
        check_not_input(path, inputs)
        if not overwrite and (path.exists() or path.is_symlink()):
            raise OutputError("already exists", where=path, hint=_REPLACE)


def check_not_input(path: Path, inputs: Iterable[Path]) -> None:
    """Raise `OutputError` if an output is one of the inputs, through any link."""
    for source in inputs:
        if path.exists() and source.exists() and path.samefile(source):
            raise OutputError(
                f"output and input {source} are the same file",
                where=path,
                hint="Inputs are never modified: name another output.",
            )


class AtomicOutput:
    """A file that gets its name when it is complete; `fd` is its descriptor until then.

    Without `sync` a power failure (not a killed process) shortly after the end may leave an
    incomplete file. None of `inputs` may be the output.
    """

    def __init__(
        self,
        path: Path,
        *,
        overwrite: bool = False,
        sync: bool = True,
        inputs: Iterable[Path] = (),
    ) -> None:
        self.path = path
        self.inputs = tuple(inputs)
        self.overwrite = overwrite
        self.sync = sync
        self.fd = -1
        self._temporary: Path | None = None

    def __enter__(self) -> Self:
        check_output(self.path, overwrite=self.overwrite, inputs=self.inputs)
        with output_errors(self.path):
            try:
                nameless = _NAMELESS if _DESCRIPTORS.exists() else 0
                self.fd = os.open(self.path.parent, nameless | os.O_RDWR, 0o666)
            except OSError as error:
                if error.errno not in _NO_NAMELESS_FILES:
                    raise
                self._temporary = self._hidden_name()
                self.fd = os.open(self._temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                with output_errors(self.path):
                    self._publish()
        finally:
            os.close(self.fd)
            self.fd = -1
            if self._temporary is not None:
                self._temporary.unlink(missing_ok=True)
                self._temporary = None

    def _hidden_name(self) -> Path:
        # Cut, so that what is added does not make a long name too long (255 bytes).
        name = os.fsdecode(os.fsencode(self.path.name)[:200])
        return self.path.with_name(f".{name}.{secrets.token_hex(4)}.part")

    def _publish(self) -> None:
        """Give the finished file its name."""
        if self.sync:
            os.fsync(self.fd)
        if self.overwrite:
            self._replace()
        else:
            # A rename would silently replace a file that appeared meanwhile; a link fails.
            try:
                self._link(self.path)
            except FileExistsError:
                raise OutputError(
                    "appeared while it was being written",
                    where=self.path,
                    hint="Another process writes the same output; this one left it alone.",
                ) from None
        if self.sync:
            _sync_folder(self.path.parent)

    def _replace(self) -> None:
        """Take the name from a file that has it, and its permissions, in one step."""
        if self._temporary is None:
            # A link cannot replace a name; a rename can.
            name = self._hidden_name()
            self._link(name)
            self._temporary = name
        with contextlib.suppress(FileNotFoundError):
            os.fchmod(self.fd, stat.S_IMODE(self.path.stat().st_mode))
        os.replace(self._temporary, self.path)
        self._temporary = None

    def _link(self, name: Path) -> None:
        """Give the file a name that must be free."""
        if self._temporary is None:
            # src_dir_fd makes os.link call linkat(), whose flag follows the link in /proc.
            folder = os.open(_DESCRIPTORS, os.O_RDONLY)
            try:
                os.link(str(self.fd), name, src_dir_fd=folder, follow_symlinks=True)
            finally:
                os.close(folder)
            return
        try:
            os.link(self._temporary, name)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            # No hard links here: claim the name first, then rename over the claim.
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            os.replace(self._temporary, name)
            self._temporary = None


def write_file(path: Path, content: bytes, *, overwrite: bool = False, sync: bool = True) -> None:
    """Write a file whose content is in memory, whole or not at all."""
    with AtomicOutput(path, overwrite=overwrite, sync=sync) as out, output_errors(path):
        write_all(out.fd, content, 0)


def _sync_folder(folder: Path) -> None:
    """Make a new name survive a power failure."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
