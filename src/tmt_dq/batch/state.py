"""What a batch remembers in its output folder, so that it can go on where it was."""

import hashlib
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from tmt_dq.batch.jobs import FileResult, FileState, Rule, Terms, state_of
from tmt_dq.batch.lines import JsonLines, read_lines

__all__ = ["STATE_NAME", "Entry", "State"]

STATE_NAME = ".tmt-dq-batch.jsonl"


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of one output.

    Parameters
    ----------
    kind : str
        "done"; "failed"; or "begun", where nothing was heard of it since.
    input : str
        The exposure, absolute.
    input_state : FileState or None
        The input as it was.
    output_state : FileState or None
        The last output that the batch made; None if it never made one.
    terms : str or None
        Key of the terms under which it was made.
    sha256 : str or None
        Digest of the input.
    error : str or None
        Class of the error.
    """

    kind: Literal["done", "failed", "begun"]
    input: str = ""
    input_state: FileState | None = None
    output_state: FileState | None = None
    terms: str | None = None
    sha256: str | None = None
    error: str | None = None

    @property
    def is_failure(self) -> bool:
        """Whether it failed, and nothing better was heard of it since."""
        return self.kind == "failed" or (self.kind == "begun" and self.error is not None)


class State:
    """The memory of a folder.

    Parameters
    ----------
    folder : Path
        The output folder.
    read_only : bool
        Whether nothing is to be written: the folder need not exist.

    Attributes
    ----------
    identity : str
        A word that no other folder has.
    entries : dict of str to Entry
        By the output's name.
    terms : dict of str to Terms
        By their key.

    Raises
    ------
    OutputError
        Raised if the file cannot be read or written, or another batch is at work in the folder.
    """

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        self.path = folder / STATE_NAME
        self.identity = ""
        self.entries: dict[str, Entry] = {}
        self.terms: dict[str, Terms] = {}
        self._ours: set[str] = set()
        self._lines = None if read_only else JsonLines(self.path, lock=True)
        try:
            for record in read_lines(self.path):
                self._take(record)
            if self._lines is not None and not self.identity:
                self.identity = secrets.token_hex(8)
                self._lines.append({"folder": self.identity, "format": 1}, sync=True)
        except BaseException:
            self.close()
            raise

    def begin(self, outputs: Iterable[str], *, sync: bool = True) -> None:
        """Remember, on the disk, that these outputs are about to be written by the batch.

        Without `sync`, a power failure (not a killed process) may make it forget.
        """
        names = list(outputs)
        self._ours.update(name for name in names if self._is_ours(name))
        if names and self._lines is not None:
            self._lines.append({"begin": names}, sync=sync)
        for name in names:
            self._begun(name)

    def finish(self, result: FileResult) -> None:
        """Remember what became of an output."""
        name = result.output.name
        record: dict[str, Any] = {result.status: name, "input": str(result.input)}
        new: list[dict[str, Any]] = []
        later: list[dict[str, Any]] = []
        if result.status == "failed":
            record["error"] = result.error_class
            # Changed and taken back, or written by a worker that was killed: still ours.
            later = [{"begin": [name]}] if self._is_changed_by_us(result) else []
        else:
            key = None if result.terms is None else _key(result.terms)
            if result.status == "skipped":
                # The input's time changed, its content did not.
                record = {"done": name, "input": str(result.input)}
                key = self.entries[name].terms
            elif result.terms is not None and key is not None and key not in self.terms:
                new.append(_terms_record(key, result.terms))
            record |= {
                "in": result.input_state,
                "out": result.output_state,
                "terms": key,
                "sha256": result.sha256,
            }
        new.append({name: value for name, value in record.items() if value is not None})
        new += later
        self._ours.discard(name)
        if self._lines is not None:
            self._lines.append(*new)
        # Not before: where the disk is full, nothing was written, and it is done again.
        for entry in new:
            self._take(entry)

    def change(self, result: FileResult) -> None:
        """Remember what became of an output that was to be changed in place, or of the plan to.

        What is known of it stays, but for what the change made untrue; an output of others stays
        one of others.
        """
        name = result.output.name
        known = self.entries.get(name)
        changed_by_us = self._is_changed_by_us(result)
        self._ours.discard(name)
        if known is None or (result.status != "done" and changed_by_us):
            return  # it stays what was begun by us: the next batch may do it again
        if known.error is not None and result.status == "skipped":
            # It failed before, for another reason: that is still to be tried again.
            self._learn({"failed": name, "input": known.input, "error": known.error})
            return
        if known.output_state is None:
            self._learn({"forget": name})
            return
        record: dict[str, Any] = {
            "done": name,
            "input": known.input,
            "in": known.input_state,
            "out": known.output_state,
            "terms": known.terms,
            "sha256": known.sha256,
        }
        new: list[dict[str, Any]] = []
        old = self.terms.get(known.terms or "")
        if result.status == "done" and result.terms is not None:
            record["out"] = result.output_state
            record["terms"] = None
            if old is not None:
                # The user's flags are the same; the mask, read first, is another.
                kept = old.references[1:] if old.references else ()
                terms = replace(
                    old,
                    version=result.terms.version,
                    rules=result.terms.rules,
                    references=(*result.terms.references[:1], *kept),
                )
                record["terms"] = _key(terms)
                new.append(_terms_record(record["terms"], terms))
        new.append({key: value for key, value in record.items() if value is not None})
        if self._lines is not None:
            self._lines.append(*new)
        for entry in new:
            self._take(entry)

    def close(self) -> None:
        """Give the folder back."""
        if self._lines is not None:
            self._lines.close()

    def _learn(self, record: dict[str, Any]) -> None:
        if self._lines is not None:
            self._lines.append(record)
        self._take(record)

    def _is_ours(self, name: str) -> bool:
        """Whether an output is as a batch left it, killed in the middle included, or not there."""
        known, now = self.entries.get(name), self._now(name)
        if now is None or known is None:
            return now is None
        return known.kind == "begun" or known.output_state == now

    def _is_changed_by_us(self, result: FileResult) -> bool:
        """Whether an output that was ours is another file since, or has another time."""
        name = result.output.name
        if name not in self._ours:
            return False
        known = self.entries.get(name)
        now = self._now(name)
        return now is not None and (known is None or known.output_state != now)

    def _now(self, name: str) -> FileState | None:
        return state_of(self.path.parent / name)

    def _begun(self, name: str) -> None:
        known = self.entries.get(name)
        self.entries[name] = Entry("begun") if known is None else replace(known, kind="begun")

    def _take(self, record: dict[str, Any]) -> None:
        """Learn from a record; one that makes no sense teaches nothing."""
        try:
            if "folder" in record:
                self.identity = self.identity or str(record["folder"])
            elif "version" in record:
                self.terms[record["terms"]] = _terms(record)
            elif "begin" in record:
                for name in record["begin"]:
                    self._begun(name)
            elif "forget" in record:
                self.entries.pop(record["forget"], None)
            elif "failed" in record:
                name = record["failed"]
                known = self.entries.get(name, Entry("failed"))
                self.entries[name] = replace(
                    known, kind="failed", input=record["input"], error=record.get("error")
                )
            elif "done" in record:
                self.entries[record["done"]] = Entry(
                    "done",
                    record["input"],
                    _file_state(record.get("in")),
                    _file_state(record.get("out")),
                    record.get("terms"),
                    record.get("sha256"),
                )
        except (KeyError, TypeError, ValueError):
            return


def _file_state(value: Any) -> FileState | None:
    return None if value is None else FileState(int(value[0]), int(value[1]))


def _key(terms: Terms) -> str:
    text = json.dumps(_terms_record("", terms), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _terms_record(key: str, terms: Terms) -> dict[str, Any]:
    return {
        "terms": key,
        "version": terms.version,
        "parameters": terms.parameters,
        "rules": [list(rule) for rule in terms.rules],
        "references": [[path, *state] for path, state in terms.references],
    }


def _terms(record: dict[str, Any]) -> Terms:
    return Terms(
        version=record["version"],
        parameters=record["parameters"],
        rules=tuple(Rule(*rule) for rule in record["rules"]),
        references=tuple(
            (path, FileState(size, mtime)) for path, size, mtime in record["references"]
        ),
    )
