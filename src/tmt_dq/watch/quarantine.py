"""Quarantine: ramps that are set aside until something changes, and the list of them."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tmt_dq.errors import TmtDqError, printable
from tmt_dq.files.atomic import write_file
from tmt_dq.watch.completeness import Identity, identity_of

__all__ = ["LIST_NAME", "Quarantine", "explained"]

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

    def holds(self, path: str, identity: Identity) -> bool:
        """Tell whether a ramp is set aside, and the same file as then."""
        return path in self._cases and self._cases[path].identity == identity

    def add(self, path: str, identity: Identity, error: TmtDqError, kind: str) -> None:
        """Set a ramp aside."""
        blamed = _state(error.where or path)
        self._cases[path] = _Case(identity, error, kind, time.time(), blamed)
        self._outdated = True

    def remove(self, path: str) -> None:
        """Forget that a ramp was set aside."""
        self._outdated |= self._cases.pop(path, None) is not None

    def release(self, *, rules: bool = False, everything: bool = False) -> Iterator[str]:
        """Yield ramps to try again: those whose error is about a file that changed since.

        With `rules`, also those whose own files may well be in order; or `everything`.
        """
        for path, case in list(self._cases.items()):
            changed = case.blamed != _state(case.error.where or path)
            if everything or changed or (rules and case.kind != "RampFormatError"):
                self.remove(path)
                yield path

    def write_list(self) -> None:
        """Write the list if it changed; there is none if nothing is set aside."""
        if not self._outdated:
            return
        lines = [
            f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(case.at))}  {case.kind}  "
            f"{explained(path, case.error)}\n"
            for path, case in sorted(self._cases.items())
        ]
        if lines:
            text = "".join(lines).encode(errors="backslashreplace")
            write_file(self.path, text, overwrite=True, sync=False)
        else:
            self.path.unlink(missing_ok=True)
        self._outdated = False


def _state(path: str) -> object:
    """Return what changes when a file is repaired: its identity, and whether it may be read."""
    try:
        return identity_of(path), os.access(path, os.R_OK)
    except ValueError:
        return None  # it is no file's name


def explained(path: str, error: TmtDqError) -> str:
    """Return in one line what is wrong with a ramp: where, what, and what to do."""
    where = "" if error.where in {None, path} else f"{error.where}: "
    hint = "" if error.hint is None else f". {' '.join(error.hint.split())}"
    what = " ".join(error.what.split()).rstrip(".")
    return printable(f"{path}: {where}{what}{hint}")
