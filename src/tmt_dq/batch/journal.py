"""Journal of a batch: one JSON line per finished exposure, in the output folder.

A line records that outputs are about to be written (``begin``), that one was made (``done``) or
not (``failed``), or that nothing was done after all (``forget``). Terms are written once, under a
key.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from tmt_dq.batch.records import FileResult, FileState, state_of
from tmt_dq.errors import OutputError
from tmt_dq.files.atomic import output_errors
from tmt_dq.files.urls import file_name, joined

JOURNAL_NAME = ".tmt-dq-batch.jsonl"

_Record = Mapping[str, Any]

_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS}


@dataclass(frozen=True, slots=True)
class Entry:
    """Knowledge of one output: its last outcome ("new" where there was none), of what it was made.

    `begun` tells that it was about to be written after that, and no outcome is known.
    """

    kind: Literal["done", "failed", "new"] = "new"
    begun: bool = False
    input: str = ""
    input_state: FileState | None = None
    output_state: FileState | None = None
    terms: str | None = None
    sha256: str | None = None
    error: str | None = None


_NEW = Entry()


class Journal:
    """Journal of an output folder, locked against other batches unless it is only read.

    `outputs` is the URL of the folder where that is remote: its journal is a local file.
    `identity` is a word that no other folder has, `entries` are found by the name of the output,
    `terms` by their key.
    """

    def __init__(
        self, folder: Path, outputs: str | None = None, *, read_only: bool = False
    ) -> None:
        self.path = folder / JOURNAL_NAME
        self._outputs = outputs
        self.identity = ""
        self.entries: dict[str, Entry] = {}
        self.terms: dict[str, _Record] = {}
        self._ours: set[str] = set()
        self._lines = None if read_only else JsonLines(self.path, lock=True)
        try:
            for record in read_lines(self.path):
                # A line that makes no sense is left out.
                with contextlib.suppress(LookupError, TypeError, ValueError, OverflowError):
                    self._learn(record)
            if not (self.identity or read_only):
                self._add({"folder": secrets.token_hex(8), "format": 1}, sync=True)
        except BaseException:
            self.close()
            raise

    def begin(self, outputs: Iterable[str], *, sync: bool = True) -> None:
        """Record that outputs are about to be written.

        Without `sync`, a power failure (not a killed process) may lose that.
        """
        names = list(outputs)
        self._ours.update(filter(self._is_ours, names))
        if names:
            self._add({"begin": names}, sync=sync)

    def finish(self, result: FileResult) -> None:
        """Record what became of an output."""
        name = file_name(str(result.output))
        entry, now = self.entries.get(name, _NEW), self._state(name)
        # Written by us since it was begun: by a worker that was killed before it answered.
        written = name in self._ours and now is not None and entry.output_state != now
        lines: list[_Record] = []
        if result.status == "failed":
            error = {} if result.error_class is None else {"error": result.error_class}
            lines = [{"failed": name, "input": str(result.input), **error}]
            # It stays ours, so that a later batch may replace it.
            lines += [{"begin": [name]}] if written else []
        elif not result.unaffected:
            lines = self._done(name, result, entry)
        elif not written:
            lines = [{"forget": name}]
        self._ours.discard(name)
        if lines:
            self._add(*lines)

    def close(self) -> None:
        """Close the file, which also releases the folder."""
        if self._lines is not None:
            self._lines.close()

    def _done(self, name: str, result: FileResult, entry: Entry) -> list[_Record]:
        """Return the lines of an output that was made, or whose input has the same content."""
        key, lines = entry.terms, []
        if result.terms is not None:
            text = json.dumps(result.terms, sort_keys=True)
            key = hashlib.sha256(text.encode()).hexdigest()[:16]
            lines = [] if key in self.terms else [{"terms": key, **result.terms}]
        record = {
            "done": name,
            "input": str(result.input),
            "in": result.input_state,
            "out": result.output_state,
            "terms": key,
            "sha256": result.sha256,
        }
        return [*lines, {key: value for key, value in record.items() if value is not None}]

    def _is_ours(self, name: str) -> bool:
        """Tell whether an output is as a batch left it, even killed, or absent."""
        entry, now = self.entries.get(name), self._state(name)
        return now is None or (entry is not None and (entry.begun or entry.output_state == now))

    def _state(self, name: str) -> FileState | None:
        if self._outputs is not None:
            return state_of(joined(self._outputs, name))
        return state_of(self.path.parent / name)

    def _add(self, *lines: _Record, sync: bool = False) -> None:
        if self._lines is not None:
            self._lines.append(*lines, sync=sync)
        # Not before: where the disk is full, nothing was written, and it is done again.
        for record in lines:
            self._learn(record)

    def _learn(self, record: _Record) -> None:
        """Change the entries as a line says."""
        if "folder" in record:
            self.identity = self.identity or str(record["folder"])
        elif "version" in record:
            self.terms[record["terms"]] = record
        elif "begin" in record:
            for name in record["begin"]:
                self.entries[name] = replace(self.entries.get(name, _NEW), begun=True)
        elif "forget" in record:
            entry = self.entries.pop(record["forget"])
            if entry.kind != "new":
                self.entries[record["forget"]] = replace(entry, begun=False)
        elif "failed" in record:
            name = record["failed"]
            self.entries[name] = replace(
                self.entries.get(name, _NEW),
                kind="failed",
                begun=False,
                input=str(record["input"]),
                error=_text(record.get("error")),
            )
        elif "done" in record:
            self.entries[record["done"]] = Entry(
                "done",
                input=str(record["input"]),
                input_state=_file_state(record.get("in")),
                output_state=_file_state(record.get("out")),
                terms=_text(record.get("terms")),
                sha256=_text(record.get("sha256")),
            )


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _file_state(value: Any) -> FileState | None:
    return None if value is None else (int(value[0]), int(value[1]))


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Read the records of a file, which need not exist; skip lines that are not whole records."""
    with output_errors(path), contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        for line in file:
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                continue  # cut short by whatever ended the process that wrote it, or damaged
            if isinstance(record, dict):
                yield record


class JsonLines:
    """File that records are added to, each with a single write of whole lines.

    With `lock`, no other process may add to it meanwhile. `OutputError` is raised if the file
    cannot be written, holds something else, or is locked by another process.
    """

    def __init__(self, path: Path, *, lock: bool = False) -> None:
        self.path = path
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        with output_errors(path):
            self._fd = os.open(path, flags, 0o666)
        try:
            with output_errors(path):
                self._examine(lock=lock)
        except BaseException:
            self.close()
            raise

    def _examine(self, *, lock: bool) -> None:
        if lock:
            self._lock()
        size = os.fstat(self._fd).st_size
        # A line that was cut short stays alone.
        self._torn = bool(size) and os.pread(self._fd, 1, size - 1) != b"\n"
        if size and os.pread(self._fd, 1, 0) != b"{":
            what = "already exists and does not hold JSON lines; it is left alone"
            raise OutputError(what, where=self.path, hint="Name another file.")

    def _lock(self) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            what = "another batch or watch is at work in this folder"
            hint = "Wait until it ends, or name another --output-dir."
            raise OutputError(what, where=self.path.parent, hint=hint) from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise

    def append(self, *records: _Record, sync: bool = False) -> None:
        """Add records, all of them or none; with `sync` wait until the disk has them."""
        lines = [json.dumps(record, separators=(",", ":")) + "\n" for record in records]
        data = (b"\n" if self._torn else b"") + "".join(lines).encode("ascii")
        with output_errors(self.path):
            size = os.fstat(self._fd).st_size
            try:
                if os.write(self._fd, data) < len(data):
                    raise OutputError("the disk is full", where=self.path, hint="Free some space.")
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._fd, size)
                raise
            if sync:
                os.fsync(self._fd)
        self._torn = False

    def close(self) -> None:
        """Close the file, which also releases the lock."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
