"""Quarantine: ramps that are set aside until something changes, and the list of them."""

import errno
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tmt_dq.errors import TmtDqError, printable
from tmt_dq.watch.completeness import Identity, identity_of

__all__ = ["LIST_NAME", "Quarantine", "explained", "replace_text"]

LIST_NAME = "set_aside.txt"
"""File in the output folder that names what was set aside, and why."""


@dataclass(frozen=True, slots=True)
class _Case:
    """Ramp that is set aside: its file as it was, and the state of the file that is to blame."""

    identity: Identity
    error: TmtDqError
    kind: str
    at: float
    blamed: object


class Quarantine:
    """Ramps that are set aside, by their names, and the list of them: the file `path`."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / LIST_NAME
        self._cases: dict[str, _Case] = {}
        self._outdated = True

    def __len__(self) -> int:
        return len(self._cases)

    @property
    def errors(self) -> dict[str, TmtDqError]:
        """Why each ramp is set aside."""
        return {path: case.error for path, case in self._cases.items()}

    def error(self, path: str, identity: Identity) -> TmtDqError | None:
        """Return why a ramp is set aside; None if it is not, or another file by now."""
        case = self._cases.get(path)
        return case.error if case is not None and case.identity == identity else None

    def add(self, path: str, identity: Identity, error: TmtDqError, kind: str) -> None:
        """Set a ramp aside."""
        blamed = _state(error.where or path)
        self._cases[path] = _Case(identity, error, kind, time.time(), blamed)
        self._outdated = True

    def remove(self, path: str) -> None:
        """Forget that a ramp was set aside."""
        self._outdated |= self._cases.pop(path, None) is not None

    def release(self, *, everything: bool) -> Iterator[str]:
        """Yield ramps to try again: all, or those whose own files may well be in order."""
        for path, case in list(self._cases.items()):
            if everything or case.kind != "RampFormatError":
                self.remove(path)
                yield path

    def release_repaired(self) -> Iterator[str]:
        """Yield ramps to try again because the file that is to blame has changed."""
        for path, case in list(self._cases.items()):
            if not os.path.lexists(path):
                self.remove(path)
            elif case.blamed != _state(case.error.where or path):
                self.remove(path)
                yield path

    def write_list(self) -> None:
        """Write the list if it changed; there is none if nothing is set aside."""
        if not self._outdated:
            return
        if self._cases:
            lines = [
                f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(case.at))}  {case.kind}  "
                f"{explained(path, case.error)}\n"
                for path, case in sorted(self._cases.items())
            ]
            replace_text(self.path, "".join(lines))
        else:
            self.path.unlink(missing_ok=True)
        self._outdated = False


def _state(path: str) -> object:
    """Return what changes when a file is repaired: its identity, and whether it may be read."""
    try:
        return identity_of(path), os.access(path, os.R_OK)
    except ValueError:
        return None  # it is no file's name


def replace_text(path: Path, text: str) -> None:
    """Replace a small file in one step; nobody ever reads half of it.

    Raises `OSError` if the system refuses, or if there is something else than a file: a rename
    would replace even a device.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is not a regular file")
    temporary = path.with_name(f".{path.name[:200]}.{os.getpid()}.part")
    try:
        temporary.write_text(text, "utf-8", errors="backslashreplace")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def explained(path: str, error: TmtDqError) -> str:
    """Return in one line what is wrong with a ramp: where, what, and what to do."""
    where = "" if error.where in {None, path} else f"{printable(str(error.where))}: "
    what = printable(" ".join(error.what.split()))
    hint = "" if error.hint is None else f". {printable(' '.join(error.hint.split()))}"
    return f"{printable(path)}: {where}{what.rstrip('.')}{hint}"
