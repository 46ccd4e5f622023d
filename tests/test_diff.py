"""What `diff` and ``tmt-dq diff`` say of changes made by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import builders
from tmt_dq import apply_dq, diff
from tmt_dq.errors import ConfigError, GeometryError, MaskFormatError, RampFormatError, TmtDqError

FLAG = builders.CONVENTION


def images() -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
    """Return flags before and after: two gained, one lost, one changed, one kept."""
    old = np.zeros((6, 8), np.uint32)
    old[1, 1] = FLAG["WARM"]
    old[2, 2] = FLAG["WARM"]
    old[5, 7] = FLAG["DEAD"]
    new = old.copy()
    new[0, 3] = FLAG["HOT"]
    new[4, 4] = FLAG["HOT"] | FLAG["DO_NOT_USE"]
    new[1, 1] = 0
    new[2, 2] = FLAG["HOT"]
    return old, new


def test_gained_lost_and_changed() -> None:
    found = diff(*images())
    assert not found.same
    assert (found.compared, found.differing) == (48, 4)
    assert (found.gained, found.lost, found.changed) == (2, 1, 1)
    flags = {f.name: (f.old, f.new, f.gained, f.lost, f.kept) for f in found.flags}
    assert flags == {
        "DO_NOT_USE": (0, 1, 1, 0, 0),
        "DEAD": (1, 1, 0, 0, 1),
        "HOT": (0, 3, 3, 0, 0),
        "WARM": (2, 0, 0, 2, 0),
    }


def test_pixels_are_listed_row_by_row_from_one_on() -> None:
    pixels = [(p.x, p.y, p.old, p.new) for p in diff(*images()).pixels]
    assert pixels == [
        (4, 1, (), ("HOT",)),
        (2, 2, ("WARM",), ()),
        (3, 3, ("WARM",), ("HOT",)),
        (5, 5, (), ("DO_NOT_USE", "HOT")),
    ]
    assert len(diff(*images(), listed=2).pixels) == 2
    assert diff(*images(), listed=0).differing == 4
    with pytest.raises(ConfigError):
        diff(*images(), listed=-1)
    old, _ = images()
    found = diff(old, old.astype(np.int64))
    assert found.same
    assert (found.differing, found.pixels, found.notes) == (0, (), ())
    assert found.tables() == []


def test_a_part_is_compared_where_both_are(folder: Path) -> None:
    old, new = images()
    full = builders.make_mask(folder / "old.fits", old, start=(101, 201))
    part = builders.make_mask(folder / "new.fits", new[2:5, 2:6], start=(103, 203))
    found = diff(full, part)
    assert found.place == "x 103–106, y 203–205 (4 × 3)"
    assert (found.compared, found.gained, found.lost, found.changed) == (12, 1, 0, 1)
    assert [(p.x, p.y) for p in found.pixels] == [(103, 203), (105, 205)]
    [note] = found.notes
    # Of the 48 pixels of the first, 36 are outside: WARM at [1, 1] and DEAD at [5, 7] too.
    assert note.startswith("old.fits covers x 101–108, y 201–206")
    assert "36 other" in note
    assert "2 are flagged" in note
    full = builders.make_mask(folder / "a.fits")
    assert diff(full, builders.make_mask(folder / "b.fits", header={"DETECTOR": "IMG1"})).same


@pytest.mark.parametrize(
    ("changed", "error", "code"),
    [
        ({"header": {"DETECTOR": "IRIS2"}}, MaskFormatError, 4),
        ({"header": {"INSTRUME": "LIGER"}}, MaskFormatError, 4),
        ({"header": {"FASTAXIS": -1, "SLOWAXIS": 2}}, GeometryError, 5),
        ({"start": (1009, 1)}, GeometryError, 5),
    ],
    ids=["detector", "instrument", "orientation", "no common pixel"],
)
def test_what_cannot_be_compared_is_refused(
    folder: Path, changed: dict[str, Any], error: type[TmtDqError], code: int
) -> None:
    axes = {"FASTAXIS": 1, "SLOWAXIS": 2}
    old = builders.make_mask(folder / "a.fits", start=(1, 1), header=axes)
    new = builders.make_mask(folder / "b.fits", **{"start": (1, 1), **changed})
    with pytest.raises(error) as caught:
        diff(old, new)
    assert caught.value.hint
    assert builders.invoke("diff", old, new).code == code


def test_meanings_are_compared_not_bits(folder: Path) -> None:
    # HOT is bit 2 in one file, as its DQ_DEF says, and bit 11 in the other.
    golden = np.array([[4, 0, 2]], np.uint32)
    plain = np.array([[FLAG["HOT"], 0, FLAG["DEAD"]]], np.uint32)
    old = builders.make_mask(folder / "a.fits", golden, rows=builders.GOLDEN_DQ_DEF)
    assert diff(old, builders.make_mask(folder / "b.fits", plain)).same
    mask = builders.make_mask(folder / "m.fits")
    applied = apply_dq(builders.make_ramp(folder / "r.fits", start=(1, 1)), mask=mask)
    assert diff(mask, applied.output).same


def test_exit_status_like_diff(folder: Path) -> None:
    old, new = images()
    a = builders.make_mask(folder / "a.fits", old)
    b = builders.make_mask(folder / "b.fits", new)
    same = builders.invoke("diff", a, a)
    assert (same.code, same.err) == (0, "")
    assert "all 48 pixels have the same flags" in same.out
    different = builders.invoke("diff", a, b, code=1)
    assert "4 of 48 pixels differ" in different.out
    quiet = builders.invoke("diff", a, b, "-q")
    assert (quiet.code, quiet.out) == (1, "")
    shown = builders.invoke("diff", a, b, "--json", "--pixels", 3, code=1)
    assert json.loads(shown.out) == diff(a, b, listed=3).to_dict()


def test_errors_are_not_differences(folder: Path) -> None:
    a = builders.make_mask(folder / "a.fits")
    assert builders.invoke("diff", a, folder / "absent.fits").code == 3
    assert builders.invoke("diff", a).code == 2
    assert builders.invoke("diff", a, a, "--plot", a).code == 10
    with pytest.raises(RampFormatError):
        diff(folder / "absent.fits", a)


def test_the_picture_has_a_panel_where_most_pixels_differ(folder: Path) -> None:
    old, new = images()
    a = builders.make_mask(folder / "a.fits", old)
    b = builders.make_mask(folder / "b.fits", new)
    assert builders.invoke("diff", a, b, "--plot", folder / "d.png").code == 1
    assert (folder / "d.png").read_bytes().startswith(b"\x89PNG")
    assert diff(old, old).figure().axes[0].get_title("left") == "pixels that differ"
    old = np.zeros((500, 600), np.uint32)
    new = old.copy()
    new[400:410, 500:510], new[3, 3] = FLAG["HOT"], FLAG["DEAD"]
    figure = diff(old, new).figure()
    detail = figure.axes[1]
    assert detail.get_title("left") == "where most of them are; pixels shown: 100"
    (left, right), (low, high) = detail.get_xlim(), detail.get_ylim()
    assert left < 500.5
    assert 510.5 < right < 600.5
    assert low < 400.5
    assert 410.5 < high < 500.5
    shown = [text.get_text() for axes in figure.axes[2:] for text in axes.texts]
    assert shown == ["gained  101", "+DEAD  1", "+HOT  100"]
