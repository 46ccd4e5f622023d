"""Masks from files of darks and flats: function, verb, record, recipes, plug-ins, errors."""

import errno
import gzip
import hashlib
import itertools
import json
import operator
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from scipy import ndimage

import reference_helpers
from builders import CONVENTION, arrays, failing, invoke
from builders import make_mask as write_mask
from page_blocks import blocks
from tmt_dq import certify_mask, find_bad_pixels
from tmt_dq.calibration.inputs import Calibrations
from tmt_dq.calibration.recipe import load_recipe
from tmt_dq.calibration.simulation import Scene, write_exposure, write_night
from tmt_dq.errors import ConfigError, OutputError

SHAPE = (64, 128)
Edit = Callable[[Path], object]


@pytest.fixture(scope="module")
def scene() -> Scene:
    # The window begins at the first pixel of the detector: reference pixels below and left.
    return Scene(SHAPE, seed=31, border=(4, 0, 4, 0))


@pytest.fixture(scope="module")
def files(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("night")
    write_night(folder, scene)
    return folder


@pytest.fixture(scope="module")
def made(files: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """Return the result of the function, and the folder of mask and maps."""
    folder = tmp_path_factory.mktemp("made")
    found = find_bad_pixels(
        sorted(files.glob("dark_*.fits"), reverse=True),
        folder / "mask.fits",
        flats=sorted(files.glob("flat_*.fits")),
        detector="IRIS1",
        keep_maps=folder / "maps.fits",
        useafter="2026-11-22",
        pedigree="GROUND",
        author="A. Keeper",
        description="Darks and flats of a night",
    )
    return found, folder


def options(files: Path, *more: object) -> list[object]:
    return [
        "make",
        "--darks",
        files / "dark_*.fits",
        "--flats",
        files / "flat_*.fits",
        "--detector",
        "IRIS1",
        *more,
    ]


def test_mask_has_what_was_planted_and_passes(scene: Scene, made: tuple[Any, Path]) -> None:
    found, folder = made
    dq = arrays(folder / "mask.fits")["DQ"]
    clean = ~np.any([*scene.kinds.values(), *scene.truth.values()], axis=0)
    for flag in ("DEAD", "LOW_QE", "OPEN", "HOT", "WARM", "RC", "REFERENCE_PIXEL"):
        found_there = (dq & CONVENTION[flag]) != 0
        np.testing.assert_array_equal(found_there & clean, False, err_msg=flag)
        assert found_there[scene.truth[flag]].all(), flag
    assert (dq[scene.truth["DEAD"]] & CONVENTION["DO_NOT_USE"]).all()
    assert found.counts["DEAD"] == scene.truth["DEAD"].sum()
    assert len(found.to_table()) == len(load_recipe("iris").finders)


def test_the_mask_is_that_of_the_subarray_or_of_the_detector(folder: Path) -> None:
    x, y = 101, 203
    for path in itertools.chain(*write_night(folder, Scene(SHAPE, seed=32, border=(0, 0, 0, 0)))):
        edit(SUBSTRT1=x, SUBSTRT2=y)(path)
    keywords = ["--useafter", "2026-11-22", "--pedigree", "GROUND", "--author", "A. Keeper"]
    words = options(folder, *keywords, "--description", "Darks and flats of a night")
    on_it = ("--base", folder / "part.fits", "--full-frame")
    for name, more in (("part", ()), ("whole", ("--full-frame",)), ("based", on_it)):
        invoke(*words, *more, "-o", folder / f"{name}.fits", code=0)
        assert certify_mask(folder / f"{name}.fits").passed
    header = fits.getheader(folder / "part.fits")
    assert [header[f"SUB{key}"] for key in ("ARRAY", "STRT1", "STRT2", "SIZE1", "SIZE2")] == [
        *("CUSTOM", x, y, 128, 64)
    ]
    part, whole, based = (
        arrays(folder / f"{name}.fits")["DQ"] for name in ("part", "whole", "based")
    )
    np.testing.assert_array_equal(based, whole)
    inside = (slice(y - 1, y + 63), slice(x - 1, x + 127))
    assert part.shape == SHAPE
    np.testing.assert_array_equal(whole[inside], part)
    outside = whole.copy()
    outside[inside] = 0
    assert set(np.unique(outside)) == {0, CONVENTION["REFERENCE_PIXEL"]}
    assert not outside[4:-4, 4:-4].any()
    invoke(
        *("apply", folder / "dark_0.fits", "-o", folder / "flagged.fits"),
        *("--mask", folder / "part.fits"),
        code=0,
    )
    np.testing.assert_array_equal(arrays(folder / "flagged.fits")["PIXELDQ"], part)


def test_flags_are_grown(files: Path, made: tuple[Any, Path], folder: Path) -> None:
    invoke(*options(files, "--grow", "plus:HOT", "-o", folder / "mask.fits"), code=0)
    hot, grown = (
        (arrays(path)["DQ"] & CONVENTION["HOT"]) != 0
        for path in (made[1] / "mask.fits", folder / "mask.fits")
    )
    plus = ndimage.generate_binary_structure(2, 1)
    np.testing.assert_array_equal(grown, ndimage.binary_dilation(hot, plus))


def test_mask_records_inputs_and_thresholds(files: Path, made: tuple[Any, Path]) -> None:
    found, folder = made
    history = " ".join(fits.getheader(folder / "mask.fits")["HISTORY"])
    for path in sorted(files.glob("*.fits")):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        assert f"{path.name}; sha256 {digest}; DATE-OBS 2026-11-22" in history
    for line in load_recipe("iris").describe():
        assert line in history
    assert "finder dead: DEAD" in history
    assert [one.kind for one in found.inputs] == ["dark"] * 5 + ["flat"] * 3


def test_maps_are_kept_with_units(made: tuple[Any, Path]) -> None:
    with fits.open(made[1] / "maps.fits") as hdus:
        assert hdus["DARK_RATE"].header["BUNIT"] == "e-/s"
        assert hdus["DARK_RATE"].data.shape == SHAPE
        assert hdus["RESPONSE"].header["BUNIT"] == "1"
        assert hdus[0].header["NDARKS"] == 5


def test_verb_makes_the_same_mask(files: Path, made: tuple[Any, Path], folder: Path) -> None:
    done = invoke(*options(files, "-o", folder / "mask.fits", "--json"), code=0)
    report = json.loads(done.out)
    assert report["made"]["counts"] == dict(made[0].counts)
    assert {one["finder"] for one in report["finders"]} == set(load_recipe("iris").finders)
    np.testing.assert_array_equal(
        arrays(folder / "mask.fits")["DQ"], arrays(made[1] / "mask.fits")["DQ"]
    )


def test_dry_run_reads_headers_only(files: Path, folder: Path) -> None:
    for path in files.iterdir():
        data = path.read_bytes()[: 2880 * 3]
        with (folder / path.name).open("wb") as file:
            file.write(data)
            file.truncate(path.stat().st_size)
    done = invoke(*options(folder, "--dry-run"), code=0)
    assert "would read 5 darks, 3 flats" in done.out
    assert "GB of memory" in done.out


def test_how_exposures_are_stored_and_named_changes_nothing(
    files: Path, made: tuple[Any, Path], folder: Path
) -> None:
    """Gzip, tiles, floating point, integrations; a list of names, a pattern, a folder."""
    (folder / "flats").mkdir()
    for path in files.iterdir():
        shutil.copy(path, folder / "flats" if path.name.startswith("flat") else folder)
    zipped = folder / "dark_0.fits.gz"
    zipped.write_bytes(gzip.compress((folder / "dark_0.fits").read_bytes(), 1))
    (folder / "dark_0.fits").unlink()
    for name, compressed in (("dark_1", False), ("dark_2", True)):
        with fits.open(folder / f"{name}.fits") as hdus:
            cube, primary = hdus["SCI"].data, fits.PrimaryHDU(header=hdus[0].header)
            if compressed:
                sci = fits.CompImageHDU(cube, name="SCI", compression_type="RICE_1")
            else:
                sci = fits.ImageHDU(cube.astype(np.float32), name="SCI")
            fits.HDUList([primary, sci]).writeto(folder / f"{name}.fits", overwrite=True)
    pair = [fits.getdata(folder / f"dark_{number}.fits") for number in (3, 4)]
    for number in (3, 4):
        (folder / f"dark_{number}.fits").unlink()
    write_exposure(folder / "dark_3.fits", np.stack(pair))
    (folder / "darks.txt").write_text("dark_1.fits\ndark_0.fits.gz\n")
    words = ["make", "--darks", f"@{folder / 'darks.txt'}", "--darks", folder / "dark_[2-9].fits"]
    words += ["--flats", folder / "flats", "--detector", "IRIS1", "-o", folder / "mask.fits"]
    invoke(*words, code=0)
    np.testing.assert_array_equal(
        arrays(folder / "mask.fits")["DQ"], arrays(made[1] / "mask.fits")["DQ"]
    )


def test_long_flats_may_saturate_and_count_for_the_linearity(
    scene: Scene, files: Path, made: tuple[Any, Path], folder: Path
) -> None:
    for number in range(3):
        cube = scene.flat_ramp(50 + number, light_e_per_s=1500)
        write_exposure(folder / f"long_{number}.fits", cube)
    long = folder / "long_*.fits"
    refused = invoke(*options(files, "--flats", long, "-o", folder / "mask.fits"), code=3)
    assert "Give saturated flats as long flats" in refused.err
    invoke(*options(files, "--long-flats", long, "-o", folder / "mask.fits"), code=0)
    before, now = (arrays(at / "mask.fits")["DQ"] for at in (made[1], folder))
    flats_alone = np.uint32(sum(CONVENTION[name] for name in ("DEAD", "LOW_QE", "OPEN")))
    np.testing.assert_array_equal(now & flats_alone, before & flats_alone)
    bent = (now & CONVENTION["NONLINEAR"]) != 0
    assert bent[scene.truth["NONLINEAR"]].all()
    assert "long flat long_0.fits" in " ".join(fits.getheader(folder / "mask.fits")["HISTORY"])


def test_base_keeps_what_no_finder_measures(files: Path, folder: Path) -> None:
    old = np.zeros((4096, 4096), np.uint32)
    old[10, 20] = CONVENTION["HOT"] | CONVENTION["DO_NOT_USE"]
    old[11, 20] = CONVENTION["DO_NOT_USE"]
    old[12, 20] = CONVENTION["PERSISTENCE"]
    old[2000, 2000] = CONVENTION["HOT"]
    write_mask(folder / "old.fits", old, start=(1, 1))
    invoke(*options(files, "--base", folder / "old.fits", "-o", folder / "new.fits"), code=0)
    new = arrays(folder / "new.fits")["DQ"]
    assert new[10, 20] == 0
    assert new[11, 20] == CONVENTION["DO_NOT_USE"]
    assert new[12, 20] == CONVENTION["PERSISTENCE"]
    assert new[2000, 2000] & CONVENTION["HOT"]
    assert "base old.fits; sha256" in " ".join(fits.getheader(folder / "new.fits")["HISTORY"])
    # Without flats nothing tells whether a pixel is dead.
    old[13, 20] = CONVENTION["DEAD"]
    write_mask(folder / "old.fits", old, start=(1, 1))
    words = ("make", "--darks", files / "dark_*.fits", "--detector", "IRIS1", "--allow-few")
    invoke(*words, "--base", folder / "old.fits", "-o", folder / "dark.fits", code=0)
    flags = arrays(folder / "dark.fits")["DQ"]
    assert (flags[13, 20], flags[10, 20]) == (CONVENTION["DEAD"] | CONVENTION["DO_NOT_USE"], 0)


def test_base_in_force_and_a_remote_dark(files: Path, folder: Path) -> None:
    import fsspec

    store = fsspec.filesystem("memory")
    store.pipe("/night/dark_0.fits", (files / "dark_0.fits").read_bytes())
    words = ["make", "--darks", "memory://night/dark_0.fits", "--darks", files / "dark_[1-4].fits"]
    words += ["--flats", files / "flat_*.fits", "--detector", "IRIS1", "--base", "auto"]
    done = invoke(*words, "-o", folder / "mask.fits", "--json", code=0)
    names = [one["name"] for one in json.loads(done.out)["inputs"]]
    assert "memory://night/dark_0.fits" in names
    history = " ".join(fits.getheader(folder / "mask.fits")["HISTORY"])
    assert "base tmt_iris_mask_0101.fits; sha256" in history
    assert "dark dark_0.fits; sha256" in history
    border = arrays(folder / "mask.fits")["DQ"][:, -1]
    assert (border == CONVENTION["REFERENCE_PIXEL"]).all()


def test_recipe_of_ones_own_and_a_plug_in(
    files: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package of the how-to is built and installed."""
    project = folder / "cold-pixels"
    page = Path(__file__).parents[1] / "docs/how_to/make_from_calibrations.md"
    parts = {block.language: block.text for block in blocks(page)}  # the last ones of the page
    module = project / "src/cold_pixels/__init__.py"
    module.parent.mkdir(parents=True)
    module.write_text(parts["python"])
    (project / "pyproject.toml").write_text(parts["toml"])
    recipe = folder / "cold.toml"
    recipe.write_text(
        'name = "cold"\ndo_not_use = "keep"\n[inputs]\nminimum_flats = 0\n'
        "[finders.cold]\nmaximum_rate_e_per_s = 1000\n"
    )
    make = ("make", "--darks", files / "dark_*.fits", "--detector", "IRIS1", "--recipe", recipe)
    target = ("-o", folder / "mask.fits")
    refused = invoke(*make, *target, code=2)
    assert "there is no finder cold" in refused.err
    uv = Path(sys.executable).with_name("uv")
    offline = ("--quiet", "--offline", "--no-index", "--no-deps")
    words = ("pip", "install", "--python", sys.executable, *offline)
    subprocess.run([uv, *words, "--target", folder / "site", project], check=True)
    monkeypatch.syspath_prepend(str(folder / "site"))
    invoke(*make, *target, code=0)
    assert (arrays(folder / "mask.fits")["DQ"] == CONVENTION["OTHER_BAD_PIXEL"]).mean() > 0.9
    (folder / "site/cold_pixels/__init__.py").write_text("FINDER = 1\n")
    monkeypatch.delitem(sys.modules, "cold_pixels")
    with pytest.raises(ConfigError, match=r"cold_pixels:FINDER of tmt_dq.finders: is 1"):
        load_recipe("iris")


def test_it_tells_in_how_many_darks_intermittent_pixels_are_hot(
    scene: Scene, files: Path, folder: Path
) -> None:
    for number in range(5):
        reads = scene.dark_ramp(number, 50)
        if number in {1, 4}:
            reads[:, 20, 30] += np.arange(0, 13 * 50, 13, dtype=np.uint16)  # 5 e-/s
        write_exposure(folder / f"dark_{number}.fits", reads)
    for path in files.glob("flat*"):
        shutil.copy(path, folder)
    done = invoke(*options(folder, "-o", folder / "mask.fits"), code=0)
    assert "intermittent: high_share 0.40 to 0.40" in done.out
    assert arrays(folder / "mask.fits")["DQ"][20, 30] & CONVENTION["UNRELIABLE_DARK"]
    history = " ".join(fits.getheader(folder / "mask.fits")["HISTORY"])
    assert "pixels; high_share 0.40 to 0.40, in the median 0.40" in history


def test_too_few_exposures_are_refused_or_recorded(files: Path, folder: Path) -> None:
    words = ("make", "--darks", files / "dark_0.fits", "--flats", files / "flat_*.fits")
    target = ("--detector", "IRIS1", "-o", folder / "mask.fits")
    refused = invoke(*words, *target, code=2)
    assert "1 dark; the recipe iris demands at least 5" in refused.err
    assert "--allow-few" in refused.err
    invoke(*words, *target, "--allow-few", code=0)
    history = " ".join(fits.getheader(folder / "mask.fits")["HISTORY"])
    assert "accepted on request: 1 dark" in history
    for name, reads, kind in (("dark_0", 3, "dark"), ("flat_0", 5, "flat")):
        path = Path(shutil.copy(files / f"{name}.fits", folder))
        replaced(operator.itemgetter(slice(reads)))(path)
        short = ("make", f"--{kind}s", path, "--detector", "IRIS1", "--allow-few", "--dry-run")
        done = invoke(*short, code=3)
        assert f"has {reads} reads; a {kind} is measured from at least {reads + 1}" in done.err


def edit(**cards: object) -> Edit:
    """Return a change of the header of a file; a card that is None is removed."""

    def change(path: Path) -> None:
        with fits.open(path, mode="update") as hdus:
            for keyword, value in cards.items():
                if value is None:
                    del hdus[0].header[keyword]
                else:
                    hdus[0].header[keyword] = value

    return change


def replaced(cube: Callable[[Any], Any], **cards: object) -> Edit:
    """Return a change of the reads of a file."""

    def change(path: Path) -> None:
        with fits.open(path) as hdus:
            reads = hdus["SCI"].data.copy()
        path.unlink()
        write_exposure(path, cube(reads), **cards)

    return change


def nan_in_a_read(reads: Any) -> Any:
    reads = reads.astype(np.float32)
    reads[3, 10, 7] = np.nan
    return reads


def numbered(path: Path) -> None:
    """Give a file a table of its reads, in which one is missing."""
    numbers = np.delete(np.arange(51), 7).astype(np.int32)
    with fits.open(path, mode="append") as hdus:
        hdus.append(fits.BinTableHDU.from_columns([fits.Column("READ_NO", "J", array=numbers)]))


def lost_read(reads: Any) -> Any:
    reads[3] = 0
    return reads


def brighter(reads: Any) -> Any:
    return (reads + np.arange(len(reads))[:, None, None] * 900).astype(np.uint16)


@pytest.mark.parametrize(
    ("name", "change", "code", "found"),
    [
        ("dark_3", edit(DETECTOR="IRIS2"), 4, "is of IRIS IRIS2; the mask is for IRIS IRIS1"),
        ("dark_3", edit(TGROUP=2.5), 3, "has 2.5 seconds between reads, but"),
        ("dark_3", edit(GAIN=3.0), 3, "has 3.0 e-/DN (GAIN), but"),
        ("dark_3", edit(GAIN=None), 3, "has no e-/DN (GAIN), but"),
        ("dark_3", edit(SUBSTRT1=101), 5, "covers x 101–228"),
        ("flat_2", edit(SUBSTRT1=101), 5, "covers x 101–228"),
        ("dark_0", edit(TGROUP=None), 3, "needs TGROUP or TFRAME"),
        ("dark_0", edit(FASTAXIS=2), 3, "was read along columns (FASTAXIS 2)"),
        ("dark_0", edit(COMPLETE=False), 3, "COMPLETE is F"),
        ("dark_0", numbered, 3, "reads are missing: READ_NO is (0, 1, 2, 3, 4, 5, 6, 8"),
        ("flat_1", edit(GAIN=3.0), 3, "has 3.0 e-/DN (GAIN), but"),
        ("dark_3", replaced(lambda reads: reads[:40]), 3, "has 40 reads, but"),
        ("flat_2", replaced(lambda reads: reads[:, :-8]), 5, "covers x 1–128, y 1–56"),
        ("dark_3", replaced(nan_in_a_read), 3, "read 4 has pixels without a value"),
        ("dark_3", replaced(lost_read), 3, "read 4 has the same value in all pixels"),
        ("dark_3", replaced(brighter), 3, "is among the darks, but the median pixel has a signal"),
        ("flat_1", replaced(lambda reads: reads // 64 + 3000), 3, "is among the flats, but"),
        (
            "flat_1",
            replaced(lambda reads: np.minimum(reads * 4.0, 65535).astype(np.uint16)),
            3,
            "of the pixels saturate; expected at most 1.0 %",
        ),
        ("dark_3", lambda path: path.write_bytes(path.read_bytes()[:50_000]), 3, "truncated"),
    ],
)
def test_error_names_the_file(
    files: Path, folder: Path, name: str, change: Edit, code: int, found: str
) -> None:
    for path in files.iterdir():
        shutil.copy(path, folder)
    change(folder / f"{name}.fits")
    done = invoke(*options(folder, "-o", folder / "mask.fits"), code=code)
    assert f"{name}.fits: " in done.err
    assert found in done.err
    assert not (folder / "mask.fits").exists()


def test_the_maps_are_not_written_over_the_mask(files: Path, folder: Path) -> None:
    same = folder / "mask.fits"
    refused = invoke(*options(files, "-o", same, "--keep-maps", same), code=10)
    assert "is named for the mask and for the maps" in refused.err


def test_reference_pixels_alone_are_refused(files: Path, folder: Path) -> None:
    for path in files.iterdir():
        shutil.copy(path, folder)
        replaced(lambda reads: reads[:, :4])(folder / path.name)
    done = invoke(*options(folder, "--dry-run"), code=5)
    assert "covers x 1–128, y 1–4 (128 × 4), which are reference pixels alone" in done.err


def test_gain_is_asked_for(files: Path, folder: Path) -> None:
    for path in files.iterdir():
        shutil.copy(path, folder)
        edit(GAIN=None)(folder / path.name)
    done = invoke(*options(folder, "-o", folder / "mask.fits"), code=2)
    assert "has no GAIN" in done.err
    assert "--gain" in done.err
    assert invoke(*options(folder, "--dry-run", "--gain", 2)).code == 0


@pytest.mark.parametrize(
    ("change", "error", "found"),
    [
        ({"flats": ["dark_0.fits"]}, ConfigError, "is named twice, as flat and dark"),
        ({"recipe": "nowhere.toml"}, ConfigError, "neither a recipe"),
        ({"output": "dark_0.fits", "overwrite": True}, OutputError, "are the same file"),
        ({"output": "mask.png"}, OutputError, "is not named .fits"),
        ({"detector": "IRIS9"}, ConfigError, "IRIS9"),
        ({"gain": -1.0}, ConfigError, "gain"),
        ({"darks": []}, ConfigError, "0 darks"),
    ],
)
def test_impossible_requests_are_refused(
    files: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, Any],
    error: type[Exception],
    found: str,
) -> None:
    monkeypatch.chdir(files)
    request: dict[str, Any] = {
        "darks": sorted(files.glob("dark_*.fits")),
        "output": "mask.fits",
        "flats": sorted(files.glob("flat_*.fits")),
        "detector": "IRIS1",
        **change,
    }
    with pytest.raises(error, match=found):
        find_bad_pixels(request.pop("darks"), **request)
    assert not Path("mask.fits").exists()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("name = 1\n[finders.hot]", "name is 1"),
        ('name = "a"', "has no table finders"),
        ('name = "a"\n[finders.hot]\nlimit = 1', "limit is no parameter of the finder hot"),
        ('name = "a"\n[finders.hot]\nmaximum_fraction = 2', "expected a number from 0, at most 1"),
        ('name = "a"\n[inputs]\nminimum_darks = 1.5\n[finders]', "expected a whole number from 0"),
        ('name = "a"\n[statistics]\nlinearity_parts = 0\n[finders]', "a whole number from 1"),
        ('name = "a"\n[statistics]\nipc_coupling = 1.75\n[finders]', "at most 0.1"),
        ('name = "a"\n[inputs]\ndarks = 5\n[finders]', "unknown field darks"),
        ('name = "a"\ndo_not_use = ["HTO"]\n[finders]', "HTO"),
        ("name", "is not TOML"),
    ],
)
def test_recipe_errors_name_the_field(folder: Path, text: str, found: str) -> None:
    path = folder / "own.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=found) as caught:
        load_recipe(path)
    assert "own.toml" in str(caught.value)


def test_implausible_fraction_is_refused(files: Path, folder: Path) -> None:
    recipe = folder / "own.toml"
    recipe.write_text('name = "own"\n[finders.dead]\nmaximum_fraction = 0.001\n')
    done = invoke(*options(files, "--recipe", recipe, "-o", folder / "mask.fits"), code=3)
    assert "the finder dead flags" in done.err


@pytest.mark.parametrize(
    ("observatory", "reftype", "detector"), [("tmt", "mask", "IRIS1"), ("ligeriri", "dq", "IMG1")]
)
def test_base_in_force_of_a_named_cache(
    files: Path, folder: Path, observatory: str, reftype: str, detector: str
) -> None:
    cache = folder / "cache"
    rules = {(detector, "GENERIC"): {"2021-05-01 00:00:00": "old.fits"}}
    references = reference_helpers.write_rules(cache, observatory, "IRIS", rules, reftype=reftype)
    old = np.zeros((4096, 4096), np.uint32)
    old[12, 20] = CONVENTION["PERSISTENCE"]
    header = {"DETECTOR": detector, "REFTYPE": reftype.upper()}
    write_mask(references / "old.fits", old, start=(1, 1), header=header)
    words = ("--crds-path", cache, "-o", folder / "mask.fits")
    refused = invoke(*options(files, *words), code=2)
    assert "--base" in refused.err
    invoke(*options(files, "--base", "auto", *words), code=0)
    assert arrays(folder / "mask.fits")["DQ"][12, 20] == CONVENTION["PERSISTENCE"]


def test_a_list_on_top_wins_and_is_recorded(
    files: Path, made: tuple[Any, Path], folder: Path
) -> None:
    found = arrays(made[1] / "mask.fits")["DQ"]
    y, x = np.argwhere(found[:64, :128] == 0)[0]
    (folder / "own.txt").write_text(f"{x + 1} {y + 1}\n")
    lists = ("--add", folder / "own.txt", "--add-columns", "x,y", "--add-flag", "HOT")
    words = (*lists, "-o", folder / "mask.fits")
    asked = invoke(*options(files, *words), code=2)
    assert "base" in asked.err
    invoke(*options(files, *words, "--add-base", 1), code=0)
    expected = found.copy()
    expected[y, x] = CONVENTION["HOT"] | CONVENTION["DO_NOT_USE"]
    np.testing.assert_array_equal(arrays(folder / "mask.fits")["DQ"], expected)
    history = " ".join(fits.getheader(folder / "mask.fits")["HISTORY"])
    assert "add own.txt; sha256" in history
    alone = invoke(*options(files, "--add-flag", "HOT", "--dry-run"), code=2)
    assert "--add-flag is about the files of --add" in alone.err


@pytest.mark.parametrize("name", ["mask", "maps"])
def test_an_output_that_cannot_be_made_is_found_before_reading(
    files: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def measure(*_: object) -> None:
        pytest.fail("the exposures were measured")

    monkeypatch.setattr(Calibrations, "measure", measure)
    (folder / "closed").mkdir()

    def is_closed(path: object, *_: object, **options: object) -> bool:
        return str(path).startswith(str(folder / "closed"))

    monkeypatch.setattr(os, "open", failing(errno.EDQUOT, os.open, is_closed))
    places = {"mask": folder, "maps": folder, name: folder / "closed"}
    with pytest.raises(OutputError, match="cannot be written: Disk quota exceeded"):
        find_bad_pixels(
            sorted(files.glob("dark_*.fits")),
            places["mask"] / "mask.fits",
            flats=sorted(files.glob("flat_*.fits")),
            detector="IRIS1",
            keep_maps=places["maps"] / "maps.fits",
        )
    assert not list(folder.glob("*.fits"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_at_once_and_leaves_nothing(folder: Path, number: int) -> None:
    rng = np.random.default_rng(1)
    cube = rng.normal(5000, 6, (60, 256, 512)).astype(np.uint16)
    write_exposure(folder / "dark_00.fits", cube)
    for place in range(1, 40):
        os.link(folder / "dark_00.fits", folder / f"dark_{place:02}.fits")
    (folder / "out").mkdir()
    words = ["-v", "make", "--darks", folder, "--detector", "IRIS1", "--allow-few"]
    words += ["-o", folder / "out/mask.fits", "--keep-maps", folder / "out/maps.fits"]
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("tmt-dq")), *map(str, words)],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert any("measuring 2400 reads of each pixel" in line for line in process.stderr)
    began = time.monotonic()
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert time.monotonic() - began < 2 * max(1, os.getloadavg()[0] / (os.cpu_count() or 1))
    assert process.returncode == 128 + number
    assert "nothing half-written is left behind" in error
    assert not list((folder / "out").iterdir())
