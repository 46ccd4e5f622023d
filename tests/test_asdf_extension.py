"""The ASDF extension after arrays and keywords were added to its file."""

import io
import re
import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

import asdf
import numpy as np
import pytest
import stdatamodels
import stdatamodels.asdf_in_fits
import yaml  # type: ignore[import-untyped]
from astropy.io import fits

from builders import CONVENTION, compress_gzip, make_ramp
from tmt_dq.apply.apply import apply_dq
from tmt_dq.datamodels import TMTRampModel
from tmt_dq.errors import RampFormatError
from tmt_dq.fits.asdf_tree import ArrayNode, refresh

TREE = b"""#ASDF 1.0.0
#ASDF_STANDARD 1.5.0
%YAML 1.1
%TAG ! tag:stsci.edu:asdf/
%TAG !x! tag:example.org:other/
--- !core/asdf-1.1.0
_fits_hash: abcdef
data: !core/ndarray-1.0.0
  source: fits:SCI,1
  datatype: float32
  byteorder: big
  shape: [1, 2, 3, 4]
known_to_nobody: !x!thing-1.2.3 {a: !x!part-1.0.0 [1, 2.50, yes, 0x1F, 1_000, ~], b: 'yes'}
local: !<!mine> text
shared: &one {name: IRIS, when: 2015-10-11, unicode: "\xc3\xa9t\xc3\xa9"}
again: *one
text: "two\\nlines, \\u00e9, and: colons"
block: |
  as
    it is
meta: {filename: a.fits, exposure: {ngroups: 2}}
...
"""


def nodes(data: Any) -> Any:
    """Compose the tree into something that compares by tag and literal text."""

    def plain(node: Any) -> Any:
        if isinstance(node, yaml.MappingNode):
            return node.tag, [(plain(key), plain(value)) for key, value in node.value]
        if isinstance(node, yaml.SequenceNode):
            return node.tag, [plain(value) for value in node.value]
        return node.tag, node.value

    text = data[data.index(b"%YAML") : data.index(b"\n...\n") + 5]
    _, pairs = plain(yaml.compose(text))
    return {key[1]: value for key, value in pairs}


def test_what_is_not_edited_comes_through_with_tags_types_and_spelling() -> None:
    new = refresh(
        TREE,
        arrays={"pixeldq": ArrayNode("PIXELDQ,1", (3, 4), "uint32")},
        metadata={"meta.cal_step.dq_init": "COMPLETE"},
        history=["done"],
    )
    before, after = nodes(TREE), nodes(new)
    untouched = set(before) - {"_fits_hash", "meta"}
    assert len(untouched) == 7
    assert {key: after[key] for key in untouched} == {key: before[key] for key in untouched}
    assert new.startswith(b"#ASDF 1.0.0\n#ASDF_STANDARD 1.5.0\n%YAML 1.1\n")
    assert "_fits_hash" not in after


def test_values_and_arrays_are_set_where_they_belong() -> None:
    new = refresh(
        TREE,
        arrays={"pixeldq": ArrayNode("PIXELDQ,1", (3, 4), "uint32")},
        metadata={
            "meta.cal_step.dq_init": "COMPLETE",
            "meta.filename": "b.fits",
            "meta.exposure.ngroups": None,
            "meta.ref_file.mask.name": "N/A",
            "meta.odd": "yes: no",
            "meta.number": 3,
        },
    )
    after = yaml.load(new[new.index(b"%YAML") :], Loader=_Loose)
    assert after["meta"] == {
        "filename": "b.fits",
        "exposure": {},
        "cal_step": {"dq_init": "COMPLETE"},
        "ref_file": {"mask": {"name": "N/A"}},
        "odd": "yes: no",
        "number": 3,
    }
    assert after["pixeldq"] == {
        "source": "fits:PIXELDQ,1",
        "datatype": "uint32",
        "byteorder": "big",
        "shape": [3, 4],
    }
    # The tag is the one of the file's own version of the standard.
    assert nodes(new)["pixeldq"][0] == "tag:stsci.edu:asdf/core/ndarray-1.0.0"
    newer = refresh(
        TREE.replace(b"STANDARD 1.5.0", b"STANDARD 1.6.0"),
        arrays={"pixeldq": ArrayNode("PIXELDQ,1", (3, 4), "uint32")},
    )
    assert nodes(newer)["pixeldq"][0] == "tag:stsci.edu:asdf/core/ndarray-1.1.0"


class _Loose(yaml.SafeLoader):  # type: ignore[misc]
    """Reads a tree whatever its tags are."""


def _any_tag(loader: Any, _suffix: Any, node: Any) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_scalar(node)


_Loose.add_multi_constructor("", _any_tag)


def test_editing_one_of_two_shared_nodes_leaves_the_other() -> None:
    new = refresh(TREE, metadata={"shared.name": "LIGER"})
    after = nodes(new)
    assert {key[1]: value[1] for key, value in after["shared"][1]}["name"] == "LIGER"
    assert after["again"] == nodes(TREE)["again"]


@pytest.mark.parametrize(
    "present",
    [
        b"",
        b"history: {entries: [!core/history_entry-1.0.0 {description: old}]}\n",
        b"history: {extensions: []}\n",
        b"history: [!core/history_entry-1.0.0 {description: old}]\n",
    ],
    ids=["none", "entries", "no entries", "a bare list"],
)
def test_history_grows_at_its_end(present: Any) -> None:
    content = TREE.replace(b"text:", present + b"text:", 1)
    new = refresh(content, history=["first", "second"])
    after = yaml.load(new[new.index(b"%YAML") :], Loader=_Loose)["history"]
    entries = after if isinstance(after, list) else after["entries"]
    expected = ["old"] if b"old" in present else []
    assert [entry["description"] for entry in entries] == [*expected, "first", "second"]
    if b"extensions" in present:
        assert after["extensions"] == []


def test_a_value_in_the_way_is_an_error() -> None:
    with pytest.raises(RampFormatError, match=r"damaged: there is a value where name should begin"):
        refresh(TREE, metadata={"meta.filename.name": 1})


@pytest.fixture
def with_blocks() -> Any:
    """An ASDF file with three blocks, as asdf writes it."""
    tree = {
        "plain": np.arange(1000, dtype=np.int16),
        "packed": np.zeros(5000, np.float64),
        "last": np.arange(7, dtype=np.uint8),
        "inline": np.arange(3),
    }
    file = asdf.AsdfFile(tree)
    file.set_array_compression(tree["packed"], "zlib")
    file.set_array_storage(tree["inline"], "inline")
    buffer = io.BytesIO()
    file.write_to(buffer)
    return tree, buffer.getvalue()


def test_binary_blocks_are_found_again(with_blocks: Any) -> None:
    tree, content = with_blocks
    new = refresh(content, metadata={"meta.a_long_name_that_moves_the_blocks": "x" * 1000})
    # asdf warns of a wrong index, and warnings are errors here.
    with asdf.open(io.BytesIO(new), validate_checksums=True, lazy_load=True) as opened:
        for name, array in tree.items():
            assert np.array_equal(opened[name], array)
        assert opened["meta"]["a_long_name_that_moves_the_blocks"] == "x" * 1000
    # The index tells the true places.
    places = [match.start() for match in re.finditer(rb"\xd3BLK", new)]
    assert yaml.safe_load(new[new.index(b"#ASDF BLOCK INDEX") :]) == places
    assert len(places) == 3


def test_a_streamed_block_comes_through() -> None:
    file = asdf.AsdfFile({"stream": asdf.tags.core.Stream([4], np.uint8)})
    buffer = io.BytesIO()
    file.write_to(buffer)
    content = buffer.getvalue() + bytes(range(8))
    with asdf.open(io.BytesIO(refresh(content, metadata={"meta.a": 1}))) as opened:
        assert np.array_equal(opened["stream"], np.arange(8).reshape(2, 4))


def test_a_truncated_tree_is_noticed(with_blocks: Any) -> None:
    _, content = with_blocks
    tree_end = content.index(b"\n...\n") + 5
    for cut in (0, 3, 10, 40, tree_end - 300, tree_end - 4):
        with pytest.raises(RampFormatError, match="ASDF extension is damaged"):
            refresh(content[:cut], metadata={"meta.a": 1})


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"SIMPLE  =                    T",
        b"#ASDF 1.0.0\n#ASDF_STANDARD 1.5.0\n",
        b"#ASDF 1.0.0\n%YAML 1.1\n--- !core/asdf-1.1.0\n[1, 2]\n...\n",
        b"#ASDF 1.0.0\n%YAML 1.1\n---\na: [1, 2\n...\n",
        b"#ASDF 1.0.0\n%YAML 1.1\n---\na: \xff\xfe\n...\n",
    ],
    ids=["empty", "FITS", "no tree", "a list", "broken YAML", "not UTF-8"],
)
def test_what_is_no_asdf_is_refused_by_name(content: Any) -> None:
    with pytest.raises(RampFormatError, match="damaged") as caught:
        refresh(content, metadata={"meta.a": 1}, where="ramp.fits")
    assert caught.value.where == "ramp.fits"
    assert caught.value.hint


def bomb(kind: str) -> bytes:
    names = "abcdefghijklm"
    if kind == "aliases":
        lines = ["a: &a [x,x,x,x,x,x,x,x,x]"]
        lines += [f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]" for a, b in pairwise(names)]
    else:
        lines = [
            "a: " + {"flow": "[" * 100_000 + "]" * 100_000, "block": "- " * 50_000 + "x"}[kind]
        ]
        lines[0] = lines[0].replace("a: - ", "a:\n- ")
    start = "#ASDF 1.0.0\n#ASDF_STANDARD 1.5.0\n%YAML 1.1\n%TAG ! tag:stsci.edu:asdf/\n"
    return "\n".join([f"{start}--- !core/asdf-1.1.0", *lines, "...", ""]).encode()


@pytest.mark.parametrize(
    ("kind", "message"),
    [("aliases", "more than a million values"), ("flow", "500 levels"), ("block", "500 levels")],
)
def test_trees_out_of_proportion_are_refused(tmp_path: Any, kind: str, message: str) -> None:
    with pytest.raises(RampFormatError, match=message):
        refresh(bomb(kind), history=["x"])
    content = np.frombuffer(bomb(kind), np.uint8)
    column = fits.Column("ASDF_METADATA", f"{len(content)}B", array=[content])
    table = fits.BinTableHDU.from_columns([column], name="ASDF")
    ramp = make_ramp(tmp_path / "r.fits", extra=[table])
    (tmp_path / "r.asdf").write_bytes(bomb(kind))
    for path in (ramp, compress_gzip(ramp, tmp_path / "r.fits.gz"), tmp_path / "r.asdf"):
        with pytest.raises(RampFormatError, match=message):
            TMTRampModel(path)
    with pytest.raises(RampFormatError, match=message):
        apply_dq(ramp, tmp_path / "o.fits", mask="N/A")


def test_an_old_ramp_opens_with_its_new_arrays_everywhere(tmp_path: Any, shared: Path) -> None:
    target = tmp_path / "flagged.fits"
    apply_dq(shared / "iris_readout_sample_ramp.fits", target, subarray=(1, 1))
    pixeldq = fits.getdata(target, "PIXELDQ")
    assert pixeldq.any()
    for model in (TMTRampModel, stdatamodels.DataModel):
        with fits.open(target) as file, model(file) as opened:
            tree = opened._instance
            assert np.array_equal(tree["pixeldq"], pixeldq)
            assert tree["data"].shape == (1, 4, 10, 10)
            assert tree["meta"]["cal_step"]["dq_init"] == "COMPLETE"
    with warnings.catch_warnings():
        # The file names extension versions of 2020.
        warnings.simplefilter("ignore", asdf.exceptions.AsdfPackageVersionWarning)
        with fits.open(target) as file, stdatamodels.asdf_in_fits.open(file) as opened:
            assert np.array_equal(opened["pixeldq"], pixeldq)
            assert opened["meta"]["cal_step"]["dq_init"] == "COMPLETE"
            history = [entry["description"] for entry in opened.get_history_entries()]
            assert any("tmt_iris_mask_0101.fits" in text for text in history)


def test_a_model_of_today_opens_with_its_new_arrays(tmp_path: Any) -> None:
    with TMTRampModel((1, 2, 3, 4)) as ramp:
        ramp.meta.instrument.name, ramp.meta.instrument.detector = "IRIS", "IRIS1"
        ramp.meta.local = {"deep": [1, 2, {"three": 3.5}]}
        ramp.local_array = np.arange(5.0)
        ramp.save(tmp_path / "ramp.fits")
    options: dict[str, Any] = {"mask": "N/A", "subarray": (1, 1), "recipe": {"ad_floor": 0}}
    apply_dq(tmp_path / "ramp.fits", tmp_path / "out.fits", **options)
    with TMTRampModel(tmp_path / "out.fits") as opened:
        assert (opened.groupdq == CONVENTION["AD_FLOOR"]).all()
        assert opened.meta.local.deep[2].three == 3.5
        assert np.array_equal(opened.local_array, np.arange(5.0))
