"""The ASDF extension of a FITS file, kept true when arrays and keywords are added to the file.

stdatamodels writes into a FITS file an extension ASDF: a table of one row and one column of bytes,
which are an ASDF file whose arrays are references to the other extensions (``source: fits:SCI,1``).
Its tree is edited here as YAML, without asking what its tags mean: what is not edited comes through
even where nobody here knows its type, in the version of the ASDF standard it was written in.
Layout of an ASDF file: ASDF Standard 1.6, "Low-level file layout".
"""

import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tmt_dq.errors import RampFormatError
from tmt_dq.fits.cards import Header

__all__ = ["ArrayNode", "asdf_hdu_bytes", "check_proportions", "refresh"]

_MAGIC = b"#ASDF "
_BLOCK_MAGIC = b"\xd3BLK"
_BLOCK_HEADER = struct.Struct(">I4sQQQ16s")
_BLOCK_INDEX = b"#ASDF BLOCK INDEX"
_STREAMED = 1
_TREE_END = re.compile(rb"\r?\n\.\.\.(?:\r?\n|$)")
_TAG_PREFIX = "tag:stsci.edu:asdf/"
_FITS_HASH = "_fits_hash"
_DEEPEST = 500
"""Levels of a tree: at some thousands, libyaml's readers end the process."""
_MOST_NODES = 1_000_000
"""Nodes of a tree with its aliases written out: 1 kB of aliases to aliases can stand for 10^12."""


@dataclass(frozen=True, slots=True)
class ArrayNode:
    """An array of the tree that lies in another extension of the file.

    Parameters
    ----------
    source : str
        Name and version of the extension, such as "PIXELDQ,1".
    shape : tuple of int
        Shape of the array.
    datatype : str or list
        Type as ASDF calls it, such as "uint32"; a list of columns for a table.
    """

    source: str
    shape: tuple[int, ...]
    datatype: Any

    @classmethod
    def from_dtype(cls, source: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> "ArrayNode":
        """Return the node of an array of a NumPy type, text being written as ASCII."""
        if dtype.names is None:
            return cls(source, shape, _datatype(dtype))
        columns = [
            {"name": name, "datatype": _datatype(dtype[name]), "byteorder": "big"}
            for name in dtype.names
        ]
        return cls(source, shape, columns)


def refresh(
    asdf_bytes: bytes,
    *,
    arrays: Mapping[str, ArrayNode] | None = None,
    metadata: Mapping[str, object] | None = None,
    history: Iterable[str] = (),
    where: object = "ASDF",
) -> bytes:
    """Return an ASDF file with arrays and values set in its tree, everything else as it was."""
    import yaml  # type: ignore[import-untyped]

    head, tree, blocks = _split(asdf_bytes, where)
    check_proportions(tree, where)
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    try:
        root = yaml.compose(tree, Loader=loader)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        raise _damaged(f"its tree is not YAML: {error}", where) from error
    if not isinstance(root, yaml.MappingNode):
        raise _damaged("its tree is no mapping", where)
    editor = _Editor(yaml, where)
    root = editor.without(root, _FITS_HASH)
    tag = f"{_TAG_PREFIX}core/ndarray-{'1.1.0' if _standard(head) >= (1, 6) else '1.0.0'}"
    for path, array in (arrays or {}).items():
        root = editor.with_value(root, path.split("."), editor.array(array, tag))
    for path, value in (metadata or {}).items():
        node = None if value is None else editor.node(value)
        root = editor.with_value(root, path.split("."), node)
    for entry in history:
        root = editor.with_history(root, entry)
    text: bytes = yaml.serialize(
        root,
        Dumper=dumper,
        encoding="utf-8",
        explicit_start=True,
        explicit_end=True,
        version=(1, 1),
        tags=_tag_handles(tree),
        allow_unicode=True,
    )
    return head + text + _moved_blocks(blocks, len(head) + len(text), where)


def check_proportions(asdf_bytes: bytes, where: object) -> None:
    """Refuse a tree too deep to be read, or whose aliases stand for far more than is written."""
    import yaml

    found = re.search(rb"(?m)^%YAML", asdf_bytes)
    start = 0 if found is None else found.start()
    end = _TREE_END.search(asdf_bytes, start)
    tree = asdf_bytes[start : end.end() if end else None]
    written = 0
    sizes: dict[str | None, int] = {}
    levels: list[tuple[str | None, list[int]]] = [(None, [0])]
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        for event in yaml.parse(tree, Loader=loader):
            size = 1
            if isinstance(event, yaml.CollectionStartEvent):
                levels.append((event.anchor, [1]))
                if len(levels) > _DEEPEST:
                    raise _damaged(f"its tree has more than {_DEEPEST} levels", where)
                continue
            if isinstance(event, yaml.CollectionEndEvent):
                anchor, (size,) = levels.pop()
                sizes[anchor] = size
            elif isinstance(event, yaml.AliasEvent):
                size = sizes.get(event.anchor, 1)
            written += 1
            levels[-1][1][0] += size
            if levels[-1][1][0] > max(_MOST_NODES, 2 * written):
                raise _damaged("its aliases stand for more than a million values", where)
    except (yaml.YAMLError, UnicodeDecodeError):
        return  # who reads the tree describes this better


def asdf_hdu_bytes(asdf_bytes: bytes, original: Header) -> tuple[Header, bytes]:
    """Return the header and the data of the extension that holds an ASDF file."""
    header = Header()
    header["XTENSION"] = ("BINTABLE", "binary table extension")
    header["BITPIX"] = (8, "array data type")
    header["NAXIS"] = (2, "number of array dimensions")
    header["NAXIS1"] = (len(asdf_bytes), "length of dimension 1")
    header["NAXIS2"] = (1, "length of dimension 2")
    header["PCOUNT"] = (0, "number of group parameters")
    header["GCOUNT"] = (1, "number of groups")
    header["TFIELDS"] = (1, "number of table fields")
    header["TTYPE1"] = "ASDF_METADATA"
    header["TFORM1"] = f"{len(asdf_bytes)}B"
    header["EXTNAME"] = ("ASDF", "extension name")
    stale = {"NAXIS3", "THEAP", "CHECKSUM", "DATASUM", "BSCALE", "BZERO", "TDIM1"}
    own = {*header, *stale}
    for card in original.cards:
        if card.keyword not in own:
            header.append(card)
    return header, asdf_bytes


def _damaged(what: str, where: object) -> RampFormatError:
    return RampFormatError(
        f"the ASDF extension is damaged: {what}",
        where=where,
        hint="Remove the extension, or fetch the file again.",
    )


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


def _moved_blocks(blocks: bytes, offset: int, where: object) -> bytes:
    """Return the binary blocks, with their index telling that they begin at `offset`."""
    place = blocks.find(_BLOCK_MAGIC)
    if place < 0:
        return blocks
    places = []
    while blocks.startswith(_BLOCK_MAGIC, place):
        places.append(place + offset)
        start = place + len(_BLOCK_MAGIC) + 2
        if start + _BLOCK_HEADER.size > len(blocks):
            raise _damaged(f"it is truncated in block {len(places) - 1}", where)
        (size,) = struct.unpack_from(">H", blocks, start - 2)
        flags, _, allocated, *_ = _BLOCK_HEADER.unpack_from(blocks, start)
        if flags & _STREAMED:
            return blocks
        place = start + size + allocated
        if place > len(blocks):
            raise _damaged(f"it is truncated in block {len(places) - 1}", where)
    rest = blocks[place:]
    if not rest.strip(b"\0 \r\n"):
        return blocks
    if not rest.startswith(_BLOCK_INDEX) or _TREE_END.search(rest) is None:
        raise _damaged("after its blocks it has bytes that are no complete index", where)
    index = f"\n%YAML 1.1\n---\n[{', '.join(map(str, places))}]\n...\n"
    return blocks[:place] + _BLOCK_INDEX + index.encode()


def _datatype(dtype: np.dtype[Any]) -> Any:
    if dtype.kind in "SU":
        return ["ascii", dtype.itemsize // (4 if dtype.kind == "U" else 1)]
    return "bool8" if dtype.kind == "b" else dtype.name


class _Editor:
    """Changes a tree of YAML nodes, copying what it changes: a node may be in several places."""

    def __init__(self, yaml: Any, where: object) -> None:
        self.yaml = yaml
        self.where = where

    def node(self, value: object) -> Any:
        """Return a value as a node."""
        return self.yaml.compose(self.yaml.safe_dump(value, allow_unicode=True))

    def array(self, array: ArrayNode, tag: str) -> Any:
        """Return an array's node."""
        node = self.node(
            {
                "source": f"fits:{array.source}",
                "datatype": array.datatype,
                "byteorder": "big",
                "shape": list(array.shape),
            }
        )
        node.tag = tag
        return node

    def without(self, mapping: Any, key: str) -> Any:
        """Return a mapping without a key."""
        pairs = [pair for pair in mapping.value if pair[0].value != key]
        return self._like(mapping, pairs)

    def with_value(self, mapping: Any, path: Sequence[str], node: Any) -> Any:
        """Return a mapping with a node at a place below it; None removes what is there."""
        if not isinstance(mapping, self.yaml.MappingNode):
            raise _damaged(f"there is a value where {'.'.join(path)} should begin", self.where)
        key, *rest = path
        present = next((value for name, value in mapping.value if name.value == key), None)
        if rest:
            empty = self.node({})
            node = self.with_value(empty if present is None else present, rest, node)
        if node is None:
            return self.without(mapping, key)
        if present is None:
            return self._like(mapping, [*mapping.value, (self.node(key), node)])
        return self._like(
            mapping,
            [(name, node if name.value == key else value) for name, value in mapping.value],
        )

    def with_history(self, root: Any, description: str) -> Any:
        """Return the tree with one more entry in its history."""
        entry = self.node({"description": description})
        entry.tag = f"{_TAG_PREFIX}core/history_entry-1.0.0"
        present = next((value for name, value in root.value if name.value == "history"), None)
        # The oldest form is a bare list of entries.
        path = ["history"]
        if not isinstance(present, self.yaml.SequenceNode):
            path = ["history", "entries"]
            pairs = [] if present is None else present.value
            present = next((value for name, value in pairs if name.value == "entries"), None)
        entries = present.value if isinstance(present, self.yaml.SequenceNode) else []
        tag = "tag:yaml.org,2002:seq"
        return self.with_value(root, path, self.yaml.SequenceNode(tag, [*entries, entry]))

    @staticmethod
    def _like(mapping: Any, pairs: list[Any]) -> Any:
        flow = mapping.flow_style and bool(mapping.value)
        return type(mapping)(mapping.tag, pairs, flow_style=flow)
