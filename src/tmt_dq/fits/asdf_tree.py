"""The ASDF extension of a FITS file, kept true when arrays and keywords are added to the file.

stdatamodels writes into a FITS file an extension ASDF: a table of one row and one column of bytes,
which are an ASDF file whose arrays are references to the other extensions (``source: fits:SCI,1``).
Its tree is edited here as YAML, without asking what its tags mean: what is not edited comes through
even where nobody here knows its type, in the version of the ASDF standard it was written in.
Layout of an ASDF file: ASDF Standard 1.6, "Low-level file layout".
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import yaml  # type: ignore[import-untyped]  # it has no types

from tmt_dq.errors import RampFormatError
from tmt_dq.fits.cards import Header
from tmt_dq.fits.headers import table_header

_MAGIC = b"#ASDF "
_TREE_END = re.compile(rb"\r?\n\.\.\.(?:\r?\n|$)")
_BLOCK_INDEX = re.compile(rb"#ASDF BLOCK INDEX\s+%YAML 1\.1\s+---([\s\[\],\d-]*)\.\.\.[\s\0]*\Z")
_TAG_PREFIX = "tag:stsci.edu:asdf/"
_FITS_HASH = "_fits_hash"
_DEEPEST = 500
"""Levels of a tree: at some thousands, libyaml's readers end the process."""
_MOST_NODES = 1_000_000
"""Nodes of a tree with its aliases written out: 1 kB of aliases to aliases can stand for 10^12."""
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class ArrayNode(NamedTuple):
    """An array that lies in another extension: name and version ("PIXELDQ,1"), shape and type."""

    source: str
    shape: tuple[int, ...]
    datatype: str


def refresh(
    asdf_bytes: bytes,
    *,
    arrays: Mapping[str, ArrayNode] | None = None,
    metadata: Mapping[str, object] | None = None,
    history: Iterable[str] = (),
    fits_hash: str | None = None,
    where: object = "ASDF",
) -> bytes:
    """Return an ASDF file with arrays and values set in its tree, everything else as it was.

    With `fits_hash`, the sha256 of all headers, stdatamodels takes the tree for true, if it did
    before; without, it looks at the headers.
    """
    head, tree, blocks = _split(asdf_bytes, where)
    check_proportions(tree, where)
    try:
        root = yaml.compose(tree, Loader=_LOADER)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        raise _damaged(f"its tree is not YAML: {error}", where) from error
    if not isinstance(root, yaml.MappingNode):
        raise _damaged("its tree is no mapping", where)
    if fits_hash is None:
        root = _without(root, _FITS_HASH)
    elif _value(root, _FITS_HASH) is not None:
        root = _with(root, [_FITS_HASH], _node(fits_hash), where)
    tag = f"{_TAG_PREFIX}core/ndarray-{'1.1.0' if _standard(head) >= (1, 6) else '1.0.0'}"
    for path, array in (arrays or {}).items():
        root = _with(root, path.split("."), _array_node(array, tag), where)
    for path, value in (metadata or {}).items():
        root = _with(root, path.split("."), None if value is None else _node(value), where)
    for entry in history:
        root = _with_history(root, entry, where)
    text: bytes = yaml.serialize(
        root,
        Dumper=_DUMPER,
        encoding="utf-8",
        explicit_start=True,
        explicit_end=True,
        version=(1, 1),
        tags=_tag_handles(tree),
        allow_unicode=True,
    )
    return head + text + _moved(blocks, len(text) - len(tree))


def check_proportions(asdf_bytes: bytes, where: object) -> None:
    """Refuse a tree too deep to be read, or whose aliases stand for far more than is written."""
    found = re.search(rb"(?m)^%YAML", asdf_bytes)
    start = 0 if found is None else found.start()
    end = _TREE_END.search(asdf_bytes, start)
    written = 0
    sizes: dict[str | None, int] = {}
    anchors: list[str | None] = []
    levels = [0]
    try:
        for event in yaml.parse(asdf_bytes[start : end.end() if end else None], Loader=_LOADER):
            size = 1
            if isinstance(event, yaml.CollectionStartEvent):
                anchors.append(event.anchor)
                levels.append(1)
                if len(levels) > _DEEPEST:
                    raise _damaged(f"its tree has more than {_DEEPEST} levels", where)
                continue
            if isinstance(event, yaml.CollectionEndEvent):
                size = sizes[anchors.pop()] = levels.pop()
            elif isinstance(event, yaml.AliasEvent):
                size = sizes.get(event.anchor, 1)
            written += 1
            levels[-1] += size
            if levels[-1] > max(_MOST_NODES, 2 * written):
                raise _damaged("its aliases stand for more than a million values", where)
    except (yaml.YAMLError, UnicodeDecodeError):
        return  # who reads the tree describes this better


def asdf_hdu_bytes(asdf_bytes: bytes, original: Header) -> tuple[Header, bytes]:
    """Return the header and the data of the extension that holds an ASDF file."""
    size = len(asdf_bytes)
    column = ("ASDF_METADATA", f"{size}B", None)
    return table_header("ASDF", size, 1, [column], like=original), asdf_bytes


def _damaged(what: str, where: object) -> RampFormatError:
    hint = "Remove the extension, or fetch the file again."
    return RampFormatError(f"the ASDF extension is damaged: {what}", where=where, hint=hint)


def _split(data: bytes, where: object) -> tuple[bytes, bytes, bytes]:
    """Return the comment lines, the tree and the blocks of an ASDF file."""
    if not data.startswith(_MAGIC):
        raise _damaged(f"it begins with {data[:16]!r}; expected {_MAGIC!r}", where)
    start = data.find(b"\n%YAML") + 1
    if start == 0:
        raise _damaged("it has no tree", where)
    end = _TREE_END.search(data, start)
    if end is None:
        raise _damaged("it is truncated inside its tree", where)
    return data[:start], data[start : end.end()], data[end.end() :]


def _standard(head: bytes) -> tuple[int, ...]:
    """Return the version of the ASDF standard that the comment lines declare."""
    found = re.search(rb"#ASDF_STANDARD (\d+)\.(\d+)", head)
    return (1, 0) if found is None else tuple(int(number) for number in found.groups())


def _tag_handles(tree: bytes) -> dict[str, str]:
    """Return the abbreviations of tags that the tree declares."""
    directives = tree.split(b"\n---", 1)[0]
    found = re.findall(rb"^%TAG (\S+) (\S+)", directives, re.MULTILINE)
    return {handle.decode(): prefix.decode() for handle, prefix in found} or {"!": _TAG_PREFIX}


def _moved(blocks: bytes, shift: int) -> bytes:
    """Return the binary blocks, with their index, if there is one, telling their new places."""
    index = _BLOCK_INDEX.search(blocks)
    if index is None:
        return blocks
    places = ", ".join(str(int(place) + shift) for place in re.findall(rb"\d+", index[1]))
    text = f"#ASDF BLOCK INDEX\n%YAML 1.1\n---\n[{places}]\n...\n"
    return blocks[: index.start()] + text.encode()


def _node(value: object) -> Any:
    """Return a value as a node."""
    return yaml.compose(yaml.safe_dump(value, allow_unicode=True))


def _array_node(array: ArrayNode, tag: str) -> Any:
    node = _node(
        {
            "source": f"fits:{array.source}",
            "datatype": array.datatype,
            "byteorder": "big",
            "shape": list(array.shape),
        }
    )
    node.tag = tag
    return node


def _value(mapping: Any, key: str) -> Any:
    """Return the node of a key, None where there is none."""
    return next((value for name, value in mapping.value if name.value == key), None)


def _without(mapping: Any, key: str) -> Any:
    """Return a mapping without a key."""
    return _like(mapping, [pair for pair in mapping.value if pair[0].value != key])


def _with(mapping: Any, path: Sequence[str], node: Any, where: object) -> Any:
    """Return a mapping with a node at a place below it; None removes what is there.

    What is changed is copied: a node may be in several places.
    """
    if not isinstance(mapping, yaml.MappingNode):
        raise _damaged(f"there is a value where {'.'.join(path)} should begin", where)
    key, *rest = path
    present = _value(mapping, key)
    if node is None and present is None:
        return mapping
    if rest:
        node = _with(_node({}) if present is None else present, rest, node, where)
    if node is None:
        return _without(mapping, key)
    if present is None:
        return _like(mapping, [*mapping.value, (_node(key), node)])
    pairs = [(name, node if name.value == key else value) for name, value in mapping.value]
    return _like(mapping, pairs)


def _with_history(root: Any, description: str, where: object) -> Any:
    """Return the tree with one more entry in its history."""
    entry = _node({"description": description})
    entry.tag = f"{_TAG_PREFIX}core/history_entry-1.0.0"
    present, path = _value(root, "history"), ["history"]
    # The oldest form is a bare list of entries.
    if not isinstance(present, yaml.SequenceNode):
        present = None if present is None else _value(present, "entries")
        path = ["history", "entries"]
    entries = present.value if isinstance(present, yaml.SequenceNode) else []
    node = yaml.SequenceNode("tag:yaml.org,2002:seq", [*entries, entry])
    return _with(root, path, node, where)


def _like(mapping: Any, pairs: list[Any]) -> Any:
    flow = mapping.flow_style and bool(mapping.value)
    return type(mapping)(mapping.tag, pairs, flow_style=flow)
