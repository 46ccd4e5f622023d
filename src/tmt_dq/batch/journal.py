"""Journal of a batch: one JSON line per finished exposure, in the output folder.

A line says that outputs are about to be written (``begin``), that one was made (``done``), was not
(``failed``), or that nothing was done after all (``forget``); terms are written once, under a key.
"""

import contextlib
import hashlib
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from tmt_dq.batch.json_lines import JsonLines, read_lines
from tmt_dq.batch.records import FileResult, FileState, Rule, Terms, state_of
from tmt_dq.files.urls import file_name, joined

__all__ = ["JOURNAL_NAME", "Entry", "Journal"]

JOURNAL_NAME = ".tmt-dq-batch.jsonl"

_Record = dict[str, Any]

_LINES = {
    # (outcome, whether our output on the disk is another one than the journal knows): lines
    ("done", False): ("done",),
    ("done", True): ("done",),
    ("same", False): ("done",),
    ("same", True): ("done",),
    ("unaffected", False): ("forget",),
    # Written by a worker that was killed before it was judged again: begun by us, to be repeated.
    ("unaffected", True): (),
    ("failed", False): ("failed",),
    # Likewise: the output stays ours, so that a later batch may replace it.
    ("failed", True): ("failed", "begin"),
}
"""Lines that the outcome of an exposure adds to the journal."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Knowledge of one output.

    `kind` is the last outcome, "new" where there was none; `begun` tells that the output was about
    to be written after that, and no outcome is known. `input_state` is the input as it was then,
    `output_state` the last output that was made, `terms` the key of its terms, `sha256` the digest
    of the input, `error` the class of the error.
    """

    kind: Literal["done", "failed", "new"] = "new"
    begun: bool = False
    input: str = ""
    input_state: FileState | None = None
    output_state: FileState | None = None
    terms: str | None = None
    sha256: str | None = None
    error: str | None = None


class Journal:
    """Journal of an output folder, locked against other batches unless it is only read.

    `outputs` is the URL of the folder where that is remote: its journal is a local file.

    `identity` is a word that no other folder has, `entries` are found by the name of the output,
    `terms` by their key.
    """

    def __init__(
        self, folder: Path, *, outputs: str | None = None, read_only: bool = False
    ) -> None:
        self.path = folder / JOURNAL_NAME
        self._outputs = outputs
        self.identity = ""
        self.entries: dict[str, Entry] = {}
        self.terms: dict[str, Terms] = {}
        self._ours: set[str] = set()
        self._lines = None if read_only else JsonLines(self.path, lock=True)
        try:
            for record in read_lines(self.path):
                # A line that makes no sense says nothing.
                with contextlib.suppress(LookupError, TypeError, ValueError, OverflowError):
                    self._learn(record)
            if self._lines is not None and not self.identity:
                self.identity = secrets.token_hex(8)
                self._lines.append({"folder": self.identity, "format": 1}, sync=True)
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
            self._add([{"begin": names}], sync=sync)

    def finish(self, result: FileResult) -> None:
        """Record what became of an output."""
        name = file_name(str(result.output))
        entry = self.entries.get(name, Entry())
        now = self._state(name)
        changed = name in self._ours and now is not None and entry.output_state != now
        lines: list[_Record] = []
        for kind in _LINES[_outcome(result), changed]:
            if kind == "done":
                lines += self._done(result, entry)
            elif kind == "failed":
                lines.append({"failed": name, "input": str(result.input)})
                if result.error_class is not None:
                    lines[-1]["error"] = result.error_class
            else:
                lines.append({kind: [name] if kind == "begin" else name})
        self._ours.discard(name)
        if lines:
            self._add(lines)

    def close(self) -> None:
        """Close the file, which also releases the folder."""
        if self._lines is not None:
            self._lines.close()

    def _done(self, result: FileResult, entry: Entry) -> list[_Record]:
        """Return the lines of an output that was made, or whose input has the same content."""
        key, new = entry.terms, []
        if result.status == "done":
            key = None if result.terms is None else _key(result.terms)
            if result.terms is not None and key not in self.terms:
                new.append({"terms": key, **_encoded(result.terms)})
        record = {
            "done": file_name(str(result.output)),
            "input": str(result.input),
            "in": result.input_state,
            "out": result.output_state,
            "terms": key,
            "sha256": result.sha256,
        }
        return [*new, {name: value for name, value in record.items() if value is not None}]

    def _is_ours(self, name: str) -> bool:
        """Tell whether an output is as a batch left it, even killed, or absent."""
        entry, now = self.entries.get(name), self._state(name)
        return now is None or (entry is not None and (entry.begun or entry.output_state == now))

    def _state(self, name: str) -> FileState | None:
        if self._outputs is not None:
            return state_of(joined(self._outputs, name))
        return state_of(self.path.parent / name)

    def _add(self, lines: list[_Record], *, sync: bool = False) -> None:
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
            self.terms[record["terms"]] = _decoded(record)
        elif "begin" in record:
            for name in record["begin"]:
                self.entries[name] = replace(self.entries.get(name, Entry()), begun=True)
        elif "forget" in record:
            entry = self.entries.pop(record["forget"])
            if entry.kind != "new":
                self.entries[record["forget"]] = replace(entry, begun=False)
        elif "failed" in record:
            name = record["failed"]
            self.entries[name] = replace(
                self.entries.get(name, Entry()),
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


def _outcome(result: FileResult) -> str:
    if result.unaffected:
        return "unaffected"
    # "skipped": the input's time changed, its content did not.
    return "same" if result.status == "skipped" else result.status


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _file_state(value: Any) -> FileState | None:
    return None if value is None else FileState(int(value[0]), int(value[1]))


def _key(terms: Terms) -> str:
    text = json.dumps({"terms": "", **_encoded(terms)}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _encoded(terms: Terms) -> _Record:
    return {
        "version": terms.version,
        "parameters": terms.parameters,
        "rules": [list(rule) for rule in terms.rules],
        "references": [[path, *state] for path, state in terms.references],
    }


def _decoded(record: _Record) -> Terms:
    return Terms(
        version=str(record["version"]),
        parameters=str(record["parameters"]),
        rules=tuple(Rule(*map(str, rule)) for rule in record["rules"]),
        references=tuple(
            (str(path), FileState(int(size), int(mtime)))
            for path, size, mtime in record["references"]
        ),
    )
