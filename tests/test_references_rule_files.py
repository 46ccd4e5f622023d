"""Rule files are parsed, never executed; what is not plain rules is refused with its line."""

from pathlib import Path
from typing import Any

import pytest

from published_files import rules_folder
from reference_helpers import exposure, make_cache, rmap_text
from tmt_dq.errors import SelectionError
from tmt_dq.references import select_reference
from tmt_dq.references.rule_files import read_rule_file

DATE = "2015-10-01 00:00:00"


def refused(folder: Path, text: str | bytes, words: str) -> None:
    cache = make_cache(folder / "cache")
    rmap = cache / "mappings/tmt/tmt_iris_mask_0001.rmap"
    rmap.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SelectionError, match=words) as caught:
        select_reference(exposure(), crds_path=cache)
    assert str(rmap) in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("name", [path.name for path in sorted(rules_folder().glob("*map"))])
def test_published_rules_are_accepted(name: Any) -> None:
    file = read_rule_file(rules_folder() / name)
    assert file.header["observatory"] == "TMT"
    assert bool(file.files) == (not name.endswith(".rmap"))


def with_rule(key: object, value: object = "a.fits") -> str:
    return rmap_text(f"Match({{{key!r} : UseAfter({{{DATE!r} : {value!r}}})}})")


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../mask.fits", "iris/mask.fits", ".hidden.fits", "a\\b.fits", ""]
)
def test_references_outside_of_the_cache(tmp_path: Path, name: Any) -> None:
    refused(tmp_path, with_rule(("IRIS1", "GENERIC"), name), "bare name")


@pytest.mark.parametrize("name", ["/x/tmt.rmap", "../tmt_iris_mask_0001.rmap", "a.fits", ""])
def test_mappings_outside_of_the_cache(tmp_path: Path, name: Any) -> None:
    cache = make_cache(tmp_path, imap=f"{{'MASK' : {name!r}}}")
    with pytest.raises(SelectionError, match="bare name"):
        select_reference(exposure(), crds_path=cache)


@pytest.mark.parametrize("value", [("a.fits", "b.fits"), {"a": "a.fits"}, 1, None])
def test_what_is_not_one_file(tmp_path: Path, value: Any) -> None:
    refused(tmp_path, with_rule(("IRIS1", "GENERIC"), value), "does not lead to a file")


@pytest.mark.parametrize(
    "date",
    [
        "2015-10-01T00:00:00",
        "2015-10-01",
        "2015-10-01 00:00",
        "2015-10-01 00:00:00.5",
        "2015-02-30 00:00:00",
        "2015/10/01 00:00:00",
        "Oct 01 2015 00:00:00",
        "20x5-10-01 00:00:00",
        20151001,
    ],
)
def test_dates_that_would_not_compare(tmp_path: Path, date: Any) -> None:
    """Crds compares text: '2015-10-01T00:00:00' is later than all of 2015-10-01."""
    rule = f"Match({{('IRIS1', 'GENERIC') : UseAfter({{{date!r} : 'a.fits'}})}})"
    refused(tmp_path, rmap_text(rule), "YYYY-MM-DD HH:MM:SS")


@pytest.mark.parametrize(
    "key",
    [
        ("(((a+)+)+$)", "GENERIC"),
        ("NOT (((a+)+)+$)", "GENERIC"),
        (("IRIS1", "((a+)+$)"), "GENERIC"),
    ],
)
def test_regular_expressions(tmp_path: Path, key: Any) -> None:
    refused(tmp_path, with_rule(key), "regular expression")


def test_regular_expressions_by_substitution(tmp_path: Path) -> None:
    substitutions = {"META.SUBARRAY.NAME": {"GENERIC": "(((a+)+)+$)"}}
    refused(tmp_path, rmap_text(substitutions=substitutions), "regular expression")


def test_hooks(tmp_path: Path) -> None:
    refused(tmp_path, rmap_text(hooks={"precondition_header": "system"}), "hooks")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import os\n" + rmap_text(), "line 1 is not"),
        (rmap_text() + "print(1)\n", "is not `header"),
        (rmap_text() + "selector = Match({})\n", "second time"),
        (rmap_text("__import__('os').system('true')"), "not a selector"),
        (rmap_text("Match({('IRIS1', 'GENERIC') : print('x')})"), "not a selector"),
        (rmap_text("Match({('IRIS1', 'GENERIC') : 'a.fits'})"), "not a selector"),
        (rmap_text("Match({('IRIS1', 'GENERIC') : UseAfter({}, 1)})"), "not a selector"),
        (rmap_text("Match({('IRIS1', 'GENERIC') : UseAfter({**{}})})"), "unpacks"),
        (rmap_text("Match({('IRIS1', x) : UseAfter({})})"), "not a literal"),
        (rmap_text("Match({[] : UseAfter({})})"), "not a literal"),
        (rmap_text("{'A' : 'b.fits'}"), "not a selector"),
        (
            rmap_text(f"Match({{('A', 'B') : UseAfter({{{DATE!r} : 'a', {DATE!r} : 'b'}})}})"),
            "twice",
        ),
        (rmap_text("Match({('A', 'B') : UseAfter({}), ('A', 'B') : UseAfter({})})"), "twice"),
        (rmap_text(mapping="PIPELINE"), "mapping"),
        (rmap_text(parkey=None), "parkey"),
        (rmap_text(parkey="DETECTOR"), "parkey"),
        (rmap_text(observatory=None), "observatory"),
        (rmap_text(rmap_relevance='(META_SUBARRAY_NAME != "FULL")'), "rmap_relevance.*ALWAYS"),
        (rmap_text(f"Match({{('A', 'B') : ClosestTime({{{DATE!r} : 'a'}})}})"), "not a selector"),
        ("header = {}\n", "no selector"),
        ("header = {1 : 2}\nselector = {}\n", "text keys"),
        ("header = dict()\nselector = {}\n", "more than literals"),
        ("header = {'a' : 1, 'a' : 2}\nselector = {}\n", "twice"),
        ("header = {", "does not parse"),
        ("header = " + "[" * 5000, "does not parse"),
        ("\0", "does not parse"),
        (b"\xff\xfe", "not UTF-8"),
        ("", "no header"),
    ],
)
def test_what_is_not_plain_rules(tmp_path: Path, text: Any, words: Any) -> None:
    refused(tmp_path, text, words)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("IRIS1", "IRIS2", "sha1sum is .* has"),
        ("selector =", "# sha1sum\nselector =", "2 lines"),
        ("Match({", "Match({\n ('IRIS2', 'GENERIC') : UseAfter({}), # sha1sum", "2 lines"),
        ("'sha1sum' :", "'reffile_required' : 'NO', 'sha1sum' :", "one line"),
        ("'sha1sum' :", "'sum' :", "found 0"),
    ],
)
def test_sums(tmp_path: Path, old: str, new: str, words: str) -> None:
    """A changed rule, lines that the sum does not cover, and none at all."""
    assert old in rmap_text()
    refused(tmp_path, rmap_text().replace(old, new), words)


def test_sums_to_ignore_and_line_ends_of_other_systems(tmp_path: Path) -> None:
    text = rmap_text(ignore_checksum=True).replace("derived_from': 'NONE", "derived_from': 'me")
    cache = make_cache(tmp_path, text)
    rmap = cache / "mappings/tmt/tmt_iris_mask_0001.rmap"
    for content in (text.encode(), rmap_text().replace("\n", "\r\n").encode()):
        rmap.write_bytes(content)
        assert select_reference(exposure(), crds_path=cache).name == "tmt_iris_mask_0001.fits"
