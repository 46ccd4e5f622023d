"""Results in a notebook: HTML that is escaped, bounded and cheap; tables of astropy."""

import html.parser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.table import Table

from builders import CONVENTION, make_mask, make_ramp
from delivery_helpers import deliverable
from tmt_dq import (
    DQInitStep,
    apply_dq,
    certify_mask,
    combine_masks,
    diff,
    dqflags,
    explain,
    import_mask,
    select_mask,
    summarize,
)
from tmt_dq.datamodels import TMTMaskModel, TMTRampModel
from tmt_dq.errors import ConfigError
from tmt_dq.tables import Table as TextTable
from tmt_dq.tables import as_astropy, as_html

EVIL = "<script>alert('&\"')</script>"
TAGS = {"div", "p", "strong", "table", "caption", "thead", "tbody", "tr", "th", "td", "img"}


class _Page(html.parser.HTMLParser):
    """Collects text, and fails where tags are unknown or not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS
        assert {name for name, _ in attrs} <= {"style", "colspan", "alt", "src"}
        if tag != "img":  # has no end
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def shown(thing: Any) -> list[str]:
    """Return the texts of what a notebook shows, after making sure that it is well formed."""
    text = thing._repr_html_()
    assert len(text) < 40_000
    return _Page(text).words


@pytest.fixture
def ramp(folder: Path) -> Path:
    return make_ramp(folder / "a_uncal.fits", header={"OBJECT": EVIL})


@pytest.fixture
def mask(folder: Path) -> Path:
    return make_mask(folder / "mask.fits", header={"AUTHOR": EVIL, "DESCRIP": "x" * 60})


def test_mask(mask: Path) -> None:
    words = shown(TMTMaskModel(mask))
    assert words[0] == "TMTMaskModel mask.fits"
    assert EVIL in words  # as text, unharmed
    for word in ("IRIS1", "6 × 8", "uint32", "DEAD", "2.083 %"):
        assert word in words
    assert words[words.index("GOOD") + 1] == "46"


def test_ramp(ramp: Path) -> None:
    words = shown(TMTRampModel(ramp))
    for word in ("TMTRampModel a_uncal.fits", "1 × 3 × 6 × 8", "float32", "groupdq", "2026-05-01"):
        assert word in words
    assert words[words.index("GOOD") + 1] == "48"


def test_a_ramp_is_shown_without_its_samples(ramp: Path) -> None:
    """Only the shapes of arrays that can take gigabytes are asked for."""

    class Untouchable:
        shape, dtype = (1, 416, 4096, 4096), np.dtype(np.uint8)

        def __getattr__(self, name: str) -> Any:
            raise AssertionError(name)

        def __array__(self, *_args: Any, **_options: Any) -> Any:
            raise AssertionError("the samples were read")

    model = TMTRampModel(ramp)
    model._instance["data"] = model._instance["groupdq"] = Untouchable()
    words = shown(model)
    assert words.count("1 × 416 × 4096 × 4096") == 2
    assert "6,979.3" in words  # 416 * 4096 * 4096 bytes


def test_results(folder: Path, ramp: Path, mask: Path) -> None:
    applied = apply_dq(ramp, mask=mask, dry_run=True)
    words = shown(applied)
    assert words[0].endswith("a_dqinit.fits  COMPLETE (dry run: not written)")
    assert words[words.index("HOT") :][:3] == ["HOT", "1", "2.083 %"]
    apply_dq(ramp, mask=mask)
    flagged = folder / "a_dqinit.fits"
    selection = select_mask(flagged)
    assert {"META.INSTRUMENT.DETECTOR", "IRIS1", "yes"} <= set(shown(selection))
    made = combine_masks([mask], dry_run=True)
    assert {"no file (dry run: not written)", "mask of IRIS IRIS1"} <= set(shown(made))
    other = make_mask(folder / "other.fits", np.zeros((6, 8), np.uint32))
    reports = (summarize(flagged), diff(mask, other), explain(flagged, x=1, y=1))
    for report in reports:
        assert "DEAD" in shown(report)


def test_a_flagged_ramp_is_not_opened_to_be_shown(
    folder: Path, ramp: Path, mask: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    result = DQInitStep.call(str(ramp), override_mask=str(mask))
    assert shown(result)[:2] == [f"{ramp}  COMPLETE (not saved yet)", f"mask {mask}"]
    result.save(folder / "saved.fits")
    words = shown(result)
    assert words[0] == f"{folder / 'saved.fits'}  COMPLETE"
    assert "DEAD" in words
    assert result._model is None


def test_certification(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tmt_dq.references.crds_tools.certify_reference", lambda *_a, **_o: ())
    good = certify_mask(deliverable(folder / "good.fits"))
    words = shown(good)
    assert words[0].endswith("good.fits  passed")
    assert words[words.index("HOT") + 1] == "1"
    bad = certify_mask(deliverable(folder / f"{'b' * 200}.fits", header={"AUTHOR": None}))
    words = shown(bad)
    assert words[0].endswith("FAILED")
    assert "Write AUTHOR." in words
    table = bad.to_table()
    assert list(table.colnames) == ["severity", "where", "what", "remedy"]
    assert "error" in table["severity"]
    assert list(good.to_table("flags").colnames)[:2] == ["name", "pixels"]
    with pytest.raises(ConfigError, match="findings or flags"):
        good.to_table("others")


def test_results_have_a_thumbnail(mask: Path) -> None:
    dq = np.full((4, 4), CONVENTION["HOT"], np.uint32)
    for result in (summarize(dq), TMTMaskModel(mask), TMTRampModel(pixeldq=dq)):
        assert 'src="data:image/png;base64,' in result._repr_html_()


def test_long_tables_and_texts_are_cut() -> None:
    rows = tuple((str(number), "&" * 1000) for number in range(10_000))
    text = as_html(["x" * 10_000], [TextTable("t", ("a", "b"), rows)])
    words = _Page(text).words
    assert len(text) < 120_000
    assert words[-1] == "… 9,940 more"
    assert max(map(len, words)) == 300


def test_tables_of_reports(folder: Path, ramp: Path, mask: Path) -> None:
    summary = summarize(mask)
    flags = summary.to_table()
    assert isinstance(flags, Table)
    assert flags["name"].tolist() == ["DO_NOT_USE", "DEAD", "HOT"]
    assert flags["pixels"].dtype.kind == "i"
    assert flags["fraction"].tolist() == [1 / 48] * 3
    assert summary.to_table("bad_rows").colnames == ["position", "defects", "fraction"]
    assert len(summary.to_table("bad_rows")) == 0
    assert set(summary.table_names) >= {"flags", "channels", "largest_clusters"}
    with pytest.raises(ConfigError, match="no table 'notes'; expected one of flags"):
        summary.to_table("notes")
    rules = select_mask(ramp).to_table()
    assert rules["matched"].dtype == bool
    assert rules["matched"].all()
    assert rules.meta["context"] == "tmt_0100.pmap"
    table = apply_dq(ramp, mask=mask).to_table()
    assert [tuple(row) for row in table["flag", "pixels"]] == [
        ("GOOD", 46),
        ("DO_NOT_USE", 1),
        ("DEAD", 1),
        ("HOT", 1),
    ]
    assert table["fraction"][0] == 46 / 48


def test_missing_values_are_masked() -> None:
    table = as_astropy([(1, None, "a"), (None, None, "b")], ("n", "nothing", "text"))
    assert table["n"].mask.tolist() == [False, True]
    assert table["n"].dtype.kind == "i"
    assert table["nothing"].mask.all()
    assert table["text"].tolist() == ["a", "b"]
    assert as_astropy([], ("a", "b")).colnames == ["a", "b"]


def test_pixels_of_a_mask_come_back_from_their_table(folder: Path) -> None:
    """ECSV keeps names, base and place: importing the table gives the mask again."""
    model = TMTMaskModel((6, 8))
    model.meta.instrument.name, model.meta.instrument.detector = "IRIS", "IRIS1"
    model.meta.subarray.xstart, model.meta.subarray.ystart = 101, 201
    model.flag_pixels(["HOT", "REFERENCE_PIXEL"], yx=[(0, 2)], do_not_use="keep")
    model.flag_pixels("DEAD", yx=[(5, 7)], do_not_use="keep")
    table = model.to_table()
    assert [tuple(row) for row in table["x", "y", "flag"]] == [
        (103, 201, "HOT,REFERENCE_PIXEL"),
        (108, 206, "DEAD"),
    ]
    assert table["value"].tolist() == [2**31 + 2048, 1024]
    table.write(folder / "list.ecsv")
    made = import_mask(
        folder / "list.ecsv", folder / "again.fits", detector="IRIS1", do_not_use="keep"
    )
    assert made.counts == {"GOOD": 4096 * 4096 - 2, "HOT": 1, "DEAD": 1, "REFERENCE_PIXEL": 1}
    dq = TMTMaskModel(folder / "again.fits").dq
    assert (dq[200, 102], dq[205, 107]) == (2**31 + 2048, 1024)


def test_table_of_the_convention() -> None:
    table = dqflags.to_table()
    expected = {name: value for name, value in CONVENTION.items() if value}
    assert dict(zip(table["name"].tolist(), table["value"].tolist(), strict=True)) == expected
    assert [1 << bit for bit in table["bit"].tolist()] == list(expected.values())
    assert len(dqflags.to_table(dqflags.group)) == 7
