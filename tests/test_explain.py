"""What `explain` and ``tmt-dq explain`` say of pixels whose past is made by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from astropy.io import fits

import builders
import reference_helpers
from tmt_dq import Reading, apply_dq, explain
from tmt_dq.errors import GeometryError

FLAG = builders.CONVENTION
NAMES = [f"tmt_iris_mask_000{number}.fits" for number in range(1, 6)]
DATES = [f"{year}-05-01 00:00:00" for year in (2021, 2022, 2023, 2024, 2025)]

# The pixel x = 4, y = 3 in the five masks; the second is not in the cache.
PAST = ["HOT", None, "GOOD", "HOT|DO_NOT_USE", "HOT|DO_NOT_USE|WARM"]


def value(names: str) -> int:
    return sum(FLAG[name] for name in names.split("|"))


def flags(names: str) -> npt.NDArray[np.uint32]:
    dq = np.zeros((6, 8), np.uint32)
    dq[2, 3] = value(names)
    return dq


@pytest.fixture
def cache(folder: Path) -> Path:
    """Return a cache with five masks of IRIS1 in its rules, one of IRIS2, and one in no rule."""
    rules = {
        ("IRIS1", "GENERIC"): dict(zip(DATES, NAMES, strict=True)),
        ("IRIS2", "GENERIC"): {DATES[0]: "tmt_iris_mask_0006.fits"},
    }
    root = reference_helpers.make_cache(
        folder / "cache", reference_helpers.rmap_text(rules), files=()
    )
    references = root / "references" / "tmt" / "iris"
    for name, names in zip(NAMES, PAST, strict=True):
        if names is not None:
            builders.make_mask(references / name, flags(names))
    other = {"DETECTOR": "IRIS2"}
    builders.make_mask(references / "tmt_iris_mask_0006.fits", flags("DEAD"), header=other)
    spare = {"DETECTOR": "IMG1", "USEAFTER": "2024-09-01T00:00:00"}
    builders.make_mask(references / "spare.fits", flags("HOT|DO_NOT_USE"), header=spare)
    return root


def applied_ramp(folder: Path, cache: Path, date: str, **options: Any) -> Path:
    raw = builders.make_ramp(
        folder / "r_uncal.fits",
        start=(1, 1),
        header={"DATE-OBS": date},
        pixeldq=options.pop("pixeldq", None),
    )
    output: Path = apply_dq(raw, crds_path=cache, **options).output
    return output


def test_flags_and_their_meaning() -> None:
    found = explain(flags("HOT|DO_NOT_USE"), x=4, y=3)
    assert found.value == 2049
    assert [(f.name, f.value, f.meaning) for f in found.flags] == [
        ("DO_NOT_USE", 1, "Bad pixel, do not use"),
        ("HOT", 2048, "Hot pixel"),
    ]
    assert explain(flags("HOT"), x=3, y=4).flags == ()


def test_history_in_the_order_of_useafter_and_since_when(cache: Path) -> None:
    mask = cache / "references" / "tmt" / "iris" / NAMES[4]
    found = explain(mask, x=4, y=3, crds_path=cache)
    assert (found.context, found.cache) == ("tmt_0001.pmap", str(cache))
    rows = [(h.useafter, h.name, h.flags, h.gained, h.lost, h.in_context) for h in found.history]
    both = ("DO_NOT_USE", "HOT")
    assert rows == [
        (DATES[0], NAMES[0], ("HOT",), ("HOT",), (), True),
        (DATES[1], NAMES[1], None, (), (), True),
        (DATES[2], NAMES[2], (), (), ("HOT",), True),
        (DATES[3], NAMES[3], both, both, (), True),
        ("2024-09-01 00:00:00", "spare.fits", both, (), (), False),
        (DATES[4], NAMES[4], (*both, "WARM"), ("WARM",), (), True),
    ]
    assert "not in the cache" in str(found.history[1].problem)
    assert "\n" not in str(found.history[1].problem)
    # Since when goes back without a break.
    assert {f.name: (f.since, f.since_useafter) for f in found.flags} == {
        "DO_NOT_USE": (NAMES[3], DATES[3]),
        "HOT": (NAMES[3], DATES[3]),
        "WARM": (NAMES[4], DATES[4]),
    }
    assert found.sources[0].origin == NAMES[4]
    assert found.about["AUTHOR"] == "tests"


def test_flags_since_when(folder: Path, cache: Path) -> None:
    (cache / "references" / "tmt" / "iris" / NAMES[2]).unlink()
    candidate = builders.make_mask(folder / "new.fits", flags("HOT"))
    [flag] = explain(candidate, x=4, y=3, crds_path=cache).flags
    assert flag.since == NAMES[0]
    candidate = builders.make_mask(folder / "new.fits", flags("DEAD"))
    [flag] = explain(candidate, x=4, y=3, crds_path=cache).flags
    assert (flag.since, flag.sources) == (None, ("mask new.fits",))


def test_a_ramp_names_its_mask_and_the_user_s_flags(folder: Path, cache: Path) -> None:
    user = builders.make_mask(folder / "my own (2).fits", flags("OUTLIER|HOT"))
    before = flags("SATURATED")
    path = applied_ramp(folder, cache, "2024-06-01", user_dq=user, pixeldq=before)
    found = explain(path, x=4, y=3, crds_path=cache)
    mask = f"mask crds://{NAMES[3]}"
    own = f"user DQ {user.name}"
    assert {f.name: f.sources for f in found.flags} == {
        "DO_NOT_USE": (mask, own),
        "SATURATED": ("flags that the ramp had before",),
        "OUTLIER": (own,),
        "HOT": (mask, own),
    }
    # The mask that came later has no say in how old the flags of this exposure are.
    assert {f.name: f.since for f in found.flags if f.since} == {
        "DO_NOT_USE": NAMES[3],
        "HOT": NAMES[3],
    }
    assert found.notes == ()


def test_sources_that_are_not_there_are_said(folder: Path, cache: Path) -> None:
    user = builders.make_mask(folder / "mine.fits", flags("OUTLIER"))
    path = applied_ramp(folder, cache, "2024-06-01", user_dq=user)
    (cache / "references" / "tmt" / "iris" / NAMES[3]).unlink()
    builders.make_mask(user, flags("OUTLIER|DEAD"))
    found = explain(path, x=4, y=3, crds_path=cache)
    problems = {source.kind: source.problem for source in found.sources}
    assert "not in the cache" in str(problems["mask"])
    assert problems["user DQ"] == "the file was changed since"
    user.unlink()
    found = explain(path, x=4, y=3, crds_path=cache)
    assert "is not in" in str(found.sources[1].problem)
    hot = next(flag for flag in found.flags if flag.name == "HOT")
    # The record says that the ramp had no flags before.
    assert hot.sources == ("one of: mask, user DQ",)


@pytest.mark.parametrize(
    ("name", "text", "reading"),
    [
        ("list.txt", "x y\n3 2\n", Reading(flag="OUTLIER", base=0)),
        (
            "list.csv",
            "4,3,16\n",
            Reading(values={16: "OUTLIER"}, base=1, columns=("x", "y", "value")),
        ),
        ("boxes.reg", "image\nbox(2,2,1,1,0)\n", Reading(flag="OUTLIER", at=(3, 2))),
    ],
)
def test_what_apply_read_is_read_again(
    folder: Path, cache: Path, name: str, text: str, reading: Reading
) -> None:
    (folder / name).write_text(text)
    path = applied_ramp(folder, cache, "2024-06-01", user_dq=folder / name, user_reading=reading)
    found = explain(path, x=4, y=3, crds_path=cache)
    assert {f.name: f.sources for f in found.flags}["OUTLIER"] == (f"user DQ {name}",)
    assert [source.problem for source in found.sources] == [None, None]


@pytest.mark.parametrize("policy", ["OUTLIER", ("OUTLIER", "DEAD"), "keep", "instrument"])
def test_the_policy_of_do_not_use_is_recorded(folder: Path, cache: Path, policy: Any) -> None:
    """OUTLIER sets DO_NOT_USE where the policy names it; IRIS' own does not."""
    (folder / "a.txt").write_text("# base: 1\nx y flag\n4 3 OUTLIER\n")
    more = {"user_dq": folder / "a.txt", "user_do_not_use": policy}
    found = explain(applied_ramp(folder, cache, "2024-06-01", **more), x=4, y=3, crds_path=cache)
    unusable = {flag.name: flag.sources for flag in found.flags}["DO_NOT_USE"]
    assert ("user DQ a.txt" in unusable) == ("OUTLIER" in policy)


def test_a_flag_that_nothing_recorded_has_set(folder: Path, cache: Path) -> None:
    path = applied_ramp(folder, cache, "2024-06-01")
    with fits.open(path, mode="update") as hdus:
        hdus["PIXELDQ"].data[2, 3] |= FLAG["JUMP_DET"]
    [flag] = [flag for flag in explain(path, x=4, y=3, crds_path=cache).flags if flag.value == 4]
    assert flag.sources == ("none of the recorded sources: it was set since",)


def test_samples_in_groupdq(folder: Path, cache: Path) -> None:
    path = applied_ramp(folder, cache, "2024-06-01", propagate_do_not_use=True)
    [group] = explain(path, x=4, y=3, crds_path=cache).groups
    assert (group.name, group.groups, group.total) == ("DO_NOT_USE", 3, 3)
    assert explain(path, x=1, y=1, crds_path=cache).groups == ()
    packed = builders.compress_gzip(path, folder / "packed.fits.gz")
    found = explain(packed, x=4, y=3, crds_path=cache)
    assert found.groups == ()
    assert [flag.name for flag in found.flags] == ["DO_NOT_USE", "HOT"]


def test_the_picture_has_the_neighbours_flags_and_ramps(folder: Path, cache: Path) -> None:
    sci = np.arange(3 * 6 * 8, dtype=np.float32).reshape(1, 3, 6, 8)
    raw = builders.make_ramp(
        folder / "r_uncal.fits", start=(1, 1), sci=sci, header={"DATE-OBS": "2024-06-01"}
    )
    path = apply_dq(raw, crds_path=cache).output
    found = explain(path, x=4, y=3, crds_path=cache)
    np.testing.assert_array_equal(found.samples.reads, sci[0, :, 1:4, 2:5])
    corner = explain(path, x=1, y=6, crds_path=cache).samples.reads
    assert corner is not None
    np.testing.assert_array_equal(corner[:, :2, 1:], sci[0, :, 4:6, :2])
    assert np.isnan(corner[:, 2]).all()
    assert np.isnan(corner[:, :, 0]).all()
    flags, names, ramp = found.figure().axes
    assert flags.get_xlim() == (0.5, 8.5)
    assert [text.get_text() for text in names.texts] == ["GOOD  47", "DO_NOT_USE HOT  1"]
    assert ramp.lines[-1].get_ydata().tolist() == sci[0, :, 2, 3].tolist()
    builders.invoke(
        "explain", path, "--pixel", "4,3", "--crds-path", cache, "--plot", folder / "p.png", code=0
    )
    assert (folder / "p.png").stat().st_size > 0
    assert len(explain(np.zeros((3, 3), np.uint32), x=1, y=1).figure().axes) == 2


def test_places_and_instruments(folder: Path) -> None:
    mask = builders.make_mask(folder / "m.fits", flags("HOT"), start=(101, 201))
    assert [flag.name for flag in explain(mask, x=104, y=203).flags] == ["HOT"]
    for x, y in ((4, 3), (100, 203), (109, 203), (104, 207), (0, 0)):
        with pytest.raises(GeometryError, match="x 101–108, y 201–206"):
            explain(mask, x=x, y=y)
    mask = builders.make_mask(folder / "m.fits", flags("HOT"), header={"INSTRUME": "NIRCAM"})
    found = explain(mask, x=4, y=3)
    assert found.history == ()
    assert "no history" in found.notes[0]
    # The masks of the package know the border.
    mask = builders.make_mask(folder / "m.fits", flags("HOT"))
    for x, expected in ((4, ("REFERENCE_PIXEL",)), (5, ())):
        [version] = explain(mask, x=x, y=5).history
        assert version.flags == expected


def test_the_command_line(folder: Path, cache: Path) -> None:
    mask = cache / "references" / "tmt" / "iris" / NAMES[4]
    arguments = ("explain", mask, "--pixel", "4,3", "--crds-path", cache)
    shown = builders.invoke(*arguments, code=0)
    assert f"{NAMES[3]}, USEAFTER {DATES[3]}" in shown.out
    as_json = builders.invoke(*arguments, "--json", "--context", "tmt_0001.pmap")
    assert json.loads(as_json.out) == explain(mask, x=4, y=3, crds_path=cache).to_dict()


@pytest.mark.contract
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--pixel", "9,9"), 5),
        (("--pixel", "4"), 2),
        ((), 2),
        (("--pixel", "4,3", "--crds-path", "absent"), 2),
        (("--pixel", "4,3", "--context", "tmt_0009.pmap"), 6),
    ],
)
def test_exit_codes(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], code: int
) -> None:
    monkeypatch.chdir(folder)
    builders.make_mask(folder / "m.fits", flags("HOT"))
    assert builders.invoke("explain", "m.fits", *arguments).code == code
