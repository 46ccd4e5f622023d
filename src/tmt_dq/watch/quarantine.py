"""Quarantine: ramps that are set aside until they change, and the list of them."""

import time
from collections.abc import Iterator
from pathlib import Path

from tmt_dq.errors import TmtDqError, printable
from tmt_dq.files.atomic import write_file
from tmt_dq.files.identity import Identity

__all__ = ["LIST_NAME", "Quarantine", "explained"]

LIST_NAME = "set_aside.txt"
"""File in the output folder that names what was set aside, and why."""


class Quarantine:
    """Ramps that are set aside, by their names, and the list of them: the file `path`."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / LIST_NAME
        self._cases: dict[str, tuple[Identity, TmtDqError, float]] = {}
        self._written: str | None = None

    def __len__(self) -> int:
        return len(self._cases)

    @property
    def errors(self) -> dict[str, TmtDqError]:
        """Why each ramp is set aside."""
        return {path: error for path, (_, error, _) in self._cases.items()}

    def holds(self, path: str, identity: Identity) -> bool:
        """Tell whether a ramp is set aside, and the same file as then."""
        return path in self._cases and self._cases[path][0] == identity

    def add(self, path: str, identity: Identity, error: TmtDqError) -> None:
        """Set a ramp aside."""
        self._cases[path] = identity, error, time.time()

    def remove(self, path: str) -> None:
        """Forget that a ramp was set aside."""
        self._cases.pop(path, None)

    def release(self, *kept: type[TmtDqError]) -> Iterator[str]:
        """Yield ramps to try again: those that were not set aside for these errors."""
        for path, error in self.errors.items():
            if not isinstance(error, kept):
                self.remove(path)
                yield path

    def write_list(self) -> None:
        """Write the list if it changed; there is none if nothing is set aside."""
        text = "".join(
            f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(at))}  {type(error).__name__}  "
            f"{explained(path, error)}\n"
            for path, (_, error, at) in sorted(self._cases.items())
        )
        if text and text != self._written:
            content = text.encode(errors="backslashreplace")
            write_file(self.path, content, overwrite=True, sync=False)
        elif not text and self._written != text:
            self.path.unlink(missing_ok=True)
        self._written = text


def explained(path: str, error: TmtDqError) -> str:
    """Return in one line what is wrong with a ramp: where, what, and what to do."""
    where = "" if error.where in {None, path} else f"{error.where}: "
    hint = "" if error.hint is None else f". {' '.join(error.hint.split())}"
    what = " ".join(error.what.split()).rstrip(".")
    return printable(f"{path}: {where}{what}{hint}")
