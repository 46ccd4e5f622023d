"""Files of rules (.pmap, .imap, .rmap), read as data; what is not plain rules is refused.

crds executes rule files as Python, after a check of its own that leaves room: a ``hooks`` entry
calls functions of crds, a regular expression may never end, a name with ``../`` leaves the cache,
and any line with "sha1sum" in it is outside the sum that is to protect the file. Here the text is
parsed, never executed, and must consist of literals; crds then gets the very text that was
examined.
"""

import ast
import functools
import hashlib
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

from tmt_dq.errors import SelectionError
from tmt_dq.files.identity import Identity

NOT_APPLICABLE = frozenset({"N/A", "TEMP_N/A"})
"""What rules lead to, in place of a file, where no file is needed."""

SPECIAL_VALUES = NOT_APPLICABLE | {"OMIT", "TEMP_OMIT"}
"""All that rules may lead to in place of a file."""

_MAX_BYTES = 64 * 2**20
"""No rule file comes near this; JWST's largest has 1 MB."""

_KINDS = {".pmap": "PIPELINE", ".imap": "INSTRUMENT", ".rmap": "REFERENCE"}
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._\-]{0,127}")
_SHA1_LINE = re.compile(r"""\s*(['"])sha1sum\1\s*:\s*(['"])([0-9a-f]{40})\2\s*,?\s*""")
_DATE = "%Y-%m-%d %H:%M:%S"
_UNREADABLE = (ValueError, TypeError, SyntaxError, RecursionError, MemoryError)


RawRule = tuple[tuple[tuple[str, Any], ...], str]
"""One path through an rmap: the selector and the key on each level, and what it leads to."""


@dataclass(frozen=True, slots=True, eq=False)
class RuleFile:
    """One file of rules that passed the examination; the same object while it does not change.

    A .pmap or .imap has `files`: instrument or type, in upper case, to file name or special value.
    A .rmap has `rules`.
    """

    path: Path
    text: str
    header: Mapping[str, Any]
    files: Mapping[str, str]
    rules: tuple[RawRule, ...]


class _NotPlainRulesError(Exception):
    """What is wrong with a file of rules, and what to do about it."""


def read_regular(path: Path) -> bytes:
    """Read a small file of a cache, at most 64 MB and a byte; OSError for a pipe or a folder."""
    # Without waiting for somebody to write to it, should it be a pipe.
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError("it is not a regular file")
        return file.read(_MAX_BYTES + 1)


def read_rule_file(path: Path) -> RuleFile:
    """Read and examine a file of rules; SelectionError if it is not plain rules.

    The header's sha1sum must be right, unless it has ``ignore_checksum``.
    """
    try:
        return _examined(path, Identity.of(path.stat()))
    except FileNotFoundError:
        raise SelectionError(
            "the rules refer to this file, but it is not in the cache",
            where=path,
            hint="Complete the cache (for instance with `tmt-dq crds sync` and CRDS_SERVER_URL), "
            "or choose another context.",
        ) from None
    except OSError as error:
        raise SelectionError(
            f"the file of rules cannot be read: {error.strerror or error}",
            where=path,
            hint="Check the file and its permissions.",
        ) from error
    except _NotPlainRulesError as error:
        what, hint = error.args
        raise SelectionError(
            f"this is not a file of rules that can be trusted: {what}", where=path, hint=hint
        ) from error


def _refuse(what: str, hint: str = "Repair the file, or choose another context.") -> NoReturn:
    raise _NotPlainRulesError(what, hint)


@functools.lru_cache(maxsize=128)
def _examined(path: Path, _identity: Identity) -> RuleFile:
    """Read and examine a file, once as long as it does not change."""
    text = _decode(read_regular(path))
    tree = _parse(text)
    header = _literal(tree["header"])
    if not isinstance(header, dict) or not all(isinstance(key, str) for key in header):
        _refuse("its header is not a dictionary with text keys")
    _check_header(path, header)
    if header.get("ignore_checksum") is not True:
        _check_sum(text)
    if path.suffix == ".rmap":
        rules = tuple(_rules(tree["selector"], len(header["parkey"])))
        return RuleFile(path, text, header, {}, rules)
    extension = ".imap" if path.suffix == ".pmap" else ".rmap"
    return RuleFile(path, text, header, _files(tree["selector"], extension), ())


def _decode(raw: bytes) -> str:
    """Return a file's text with the line ends that open() in text mode, which crds uses, makes."""
    if len(raw) > _MAX_BYTES:
        _refuse(f"it has more than {_MAX_BYTES} bytes")
    try:
        return raw.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        _refuse(f"it is not UTF-8 text ({error.reason} at byte {error.start})")


def _parse(text: str) -> dict[str, ast.expr]:
    """Return the expressions of ``header = ...`` and ``selector = ...``."""
    try:
        module = ast.parse(text)
    except _UNREADABLE as error:
        _refuse(f"it does not parse ({error})")
    found: dict[str, ast.expr] = {}
    for statement in module.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id="header" | "selector" | "comment" as name)]):
                if name in found:
                    _refuse(f"line {statement.lineno} defines {name} a second time")
                found[name] = statement.value
            case _:
                _refuse(f"line {statement.lineno} is not `header = ...` or `selector = ...`")
    for name in ("header", "selector"):
        if name not in found:
            _refuse(f"it has no {name}")
    if "comment" in found:
        _literal(found["comment"])
    return found


def _literal(node: ast.expr) -> Any:
    """Return the value of a literal; no key of a dictionary may appear twice."""
    try:
        value = ast.literal_eval(node)
    except _UNREADABLE:
        _refuse(f"line {node.lineno} holds more than literals")
    for part in ast.walk(node):
        if isinstance(part, ast.Dict):
            _items(part)
    return value


def _items(node: ast.Dict) -> list[tuple[Any, ast.expr, ast.expr]]:
    """Return a dictionary's keys, as values and as nodes, and its values as nodes."""
    found: dict[Any, tuple[Any, ast.expr, ast.expr]] = {}
    for key, value in zip(node.keys, node.values, strict=True):
        if key is None:
            _refuse(f"line {value.lineno} unpacks a dictionary")
        try:
            name = ast.literal_eval(key)
            twice = name in found
        except (ValueError, TypeError, RecursionError):
            _refuse(f"line {key.lineno} has a key that is not a literal")
        if twice:
            _refuse(f"line {key.lineno}: {name!r} appears twice, and only one would count")
        found[name] = name, key, value
    return list(found.values())


def _check_header(path: Path, header: dict[str, Any]) -> None:
    for key in ("mapping", "observatory", "parkey", "name", "derived_from"):
        if key not in header:
            _refuse(f"its header has no {key!r}")
    kind = header["mapping"]
    if str(kind).upper() != _KINDS.get(path.suffix):
        _refuse(f"its header has mapping {kind!r}, its name ends in {path.suffix!r}")
    if not isinstance(header["parkey"], tuple):
        _refuse("its parkey is not a tuple")
    if "hooks" in header:
        _refuse("its header has 'hooks', which would call functions by name")
    for key, plain in (("rmap_relevance", "ALWAYS"), ("rmap_omit", "NEVER")):
        if str(header.get(key, plain)).upper() != plain:
            _refuse(f"its header has {key!r} {header[key]!r}, an expression; expected {plain}")
    substitutions = header.get("substitutions", {})
    tables = substitutions.values() if isinstance(substitutions, dict) else ()
    for value in (value for table in tables if isinstance(table, dict) for value in table.values()):
        if "(" in str(value):
            _refuse(f"its substitutions hold a regular expression, {value!r}")


def _check_sum(text: str) -> None:
    """Check the sha1sum as crds does, but allow one line only to be outside the sum."""
    lines = text.splitlines(keepends=True)
    outside = [line for line in lines if "sha1sum" in line]
    match = _SHA1_LINE.fullmatch(outside[0]) if len(outside) == 1 else None
    if match is None:
        _refuse(
            f"expected one line 'sha1sum' : '<40 hexadecimal digits>' and found {len(outside)} "
            "lines with that word, which the sum does not protect",
            "Write the sum with: tmt-dq crds checksum FILE",
        )
    kept = "".join(line for line in lines if "sha1sum" not in line)
    found = hashlib.sha1(kept.encode("utf-8"), usedforsecurity=False).hexdigest()
    if found != match[3]:
        _refuse(
            f"its sha1sum is {found}; its header has {match[3]}",
            "The file was changed or damaged. If the change was meant: tmt-dq crds checksum FILE",
        )


def _files(node: ast.expr, extension: str) -> dict[str, str]:
    """Return the selector of a .pmap or .imap, which leads to files with an extension."""
    selector = _literal(node)
    if not isinstance(selector, dict) or not all(isinstance(key, str) for key in selector):
        _refuse("its selector is not a dictionary with text keys")
    return {key.upper(): _name(node, name, extension) for key, name in selector.items()}


def _name(node: ast.expr, name: object, extension: str = "") -> str:
    """Return what a rule leads to: a file in the same folder, or a special value."""
    if not isinstance(name, str):
        _refuse(f"line {node.lineno} does not lead to a file")
    is_file = _FILE_NAME.fullmatch(name) and name.endswith(extension)
    if name.upper() not in SPECIAL_VALUES and not is_file:
        what = f"leads to {name!r}, which is not the bare name of a file {extension}"
        _refuse(f"line {node.lineno} {what}")
    return name


def _rules(
    node: ast.expr, depth: int, above: tuple[tuple[str, Any], ...] = ()
) -> Iterator[RawRule]:
    """Yield the rules of a .rmap: nested calls with literals, as deep as its parkey is long."""
    match node:
        case ast.Call(
            func=ast.Name(id="Match" | "UseAfter" as selector),
            args=[ast.Dict() as table],
            keywords=[],
        ) if depth > 0:
            for key, key_node, value in _items(table):
                _check_key(selector, key, key_node)
                keys = (*above, (selector, key))
                if depth > 1:
                    yield from _rules(value, depth - 1, keys)
                else:
                    yield keys, _name(value, getattr(value, "value", None))
        case _:
            what = "is not a selector, Match or UseAfter, that fits the header's parkey"
            _refuse(f"line {node.lineno} {what}")


def _check_key(selector: str, key: Any, node: ast.expr) -> None:
    """Check one rule key: no regular expressions; dates in the one form that compares rightly."""
    if selector == "UseAfter":
        # crds compares dates as text: one with a T sorts after every time of the same day.
        try:
            # Not strftime, which writes year 1 as "1".
            exact = str(datetime.strptime(key, _DATE)) == key  # noqa: DTZ007 (of rules)
        except (ValueError, TypeError):
            exact = False
        if not exact:
            form = "'YYYY-MM-DD HH:MM:SS'"
            _refuse(f"line {node.lineno}: the date {key!r} is not of the form {form}")
    elif any("(" in str(part.value) for part in ast.walk(node) if isinstance(part, ast.Constant)):
        _refuse(f"line {node.lineno}: the key {key!r} holds a regular expression")
