"""Remote files in functions, verbs, batch and step: the results are those of local files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from builders import data_unit, invoke, make_mask, make_ramp, run_python
from remote_helpers import WebServer
from tmt_dq import apply_dq, diff, explain, run_batch, select_mask, summarize
from tmt_dq.batch.inputs import find_inputs
from tmt_dq.errors import ConfigError, OutputError
from tmt_dq.step.step import DQInitStep

pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")


@pytest.fixture
def ramp(folder: Path) -> Path:
    return make_ramp(folder / "a_uncal.fits")


@pytest.fixture
def mask(folder: Path) -> Path:
    return make_mask(folder / "mask.fits")


def test_selections_and_reports(folder: Path, store: Any, ramp: Path, mask: Path) -> None:
    store.put([str(ramp), str(mask)], "night/")
    url = "s3://night/mask.fits"
    assert select_mask("s3://night/a_uncal.fits").uri == select_mask(ramp).uri
    found = summarize(url)
    assert str(found.path) == url
    assert found.flagged == summarize(mask).flagged == 2
    assert str(explain(url, x=4, y=3).path) == url
    assert diff(url, mask).changed == 0
    for words in (("inspect", url), ("explain", url, "--pixel", "4,3"), ("diff", url, mask)):
        outcome = invoke(*words, "--json", code=0)
        assert "staged" not in outcome.out
    outcome = invoke("select", "s3://night/a_uncal.fits", "--json")
    assert json.loads(outcome.out)["ramp"] == "s3://night/a_uncal.fits"


def unit_cards(path: Path) -> list[list[tuple[str, object]]]:
    """Return the cards of a file but for those about it and its mask, and its DQ_SOURCES."""
    about = {"DATE", "FILENAME", "CHECKSUM", "DATASUM", "HISTORY", "R_MASK"}
    with fits.open(path, checksum=True) as hdus:
        return [
            [(card.keyword, card.value) for card in hdu.header.cards if card.keyword not in about]
            for hdu in hdus
            if hdu.name != "DQ_SOURCES"  # it has the names of files, and columns as wide
        ]


@pytest.mark.parametrize("way", ["down", "up", "across"])
def test_the_result_is_that_of_local_files(
    folder: Path, store: Any, ramp: Path, mask: Path, way: str
) -> None:
    store.put([str(ramp), str(mask)], "night/")
    expected = apply_dq(ramp, folder / "expected.fits", mask=mask)
    source = ramp if way == "up" else "s3://night/a_uncal.fits"
    target = folder / "made.fits" if way == "down" else "s3://night/out/made.fits"
    applied = apply_dq(source, target, mask="s3://night/mask.fits")
    assert (str(applied.input), str(applied.output)) == (str(source), str(target))
    assert applied.mask == str(applied.mask_path) == "s3://night/mask.fits"
    assert applied.counts == expected.counts
    if way != "down":
        store.get("night/out/made.fits", str(folder / "made.fits"))
    made = folder / "made.fits"
    assert unit_cards(made) == unit_cards(folder / "expected.fits")
    for name in ("SCI", "PIXELDQ", "GROUPDQ"):
        assert data_unit(made, name) == data_unit(folder / "expected.fits", name)
    assert fits.getval(made, "R_MASK") == "s3://night/mask.fits"
    assert b"staged" not in made.read_bytes()
    names = {"a_uncal.fits", "mask.fits", "expected.fits", "made.fits"}
    assert {path.name for path in folder.iterdir()} == names


def test_outputs_are_beside_their_ramps(folder: Path, store: Any, ramp: Path, mask: Path) -> None:
    store.put([str(ramp), str(mask)], "night/")
    told = ("--mask", "s3://night/mask.fits", "-q")
    assert invoke("apply", "s3://night/a_uncal.fits", *told).code == 0
    assert invoke("apply", ramp, "--output-dir", "s3://night/out/", *told).code == 0
    assert invoke("apply", "s3://night/a_uncal.fits", "--output-dir", folder, *told).code == 0
    store.invalidate_cache()
    assert {"night/a_dqinit.fits", "night/out/a_dqinit.fits"} < set(store.find("night"))
    assert (folder / "a_dqinit.fits").exists()
    outcome = invoke("apply", "s3://night/a_uncal.fits", *told, code=10)
    assert "s3://night/a_dqinit.fits: already exists" in outcome.err
    dry = invoke("apply", ramp, "-o", "s3://night/dry.fits", "--dry-run", "--json", *told[:2])
    assert json.loads(dry.out)["ramps"][0]["output"] == "s3://night/dry.fits"
    assert not store.exists("night/dry.fits")


def test_nothing_is_fetched_for_an_output_that_cannot_be(
    folder: Path, web: WebServer, ramp: Path, mask: Path
) -> None:
    web.content["/a_uncal.fits"] = ramp.read_bytes()
    url = f"{web.address}/a_uncal.fits"
    (folder / "a_dqinit.fits").touch()
    for target in (folder / "a_dqinit.fits", folder / "none" / "a.fits", f"{web.address}/b.fits"):
        with pytest.raises(OutputError):
            apply_dq(url, target, mask=mask)
    assert invoke("apply", url, "--mask", mask).code == 10
    assert web.requests == []


def test_errors_name_the_url_without_its_secret(folder: Path, web: WebServer, mask: Path) -> None:
    web.content["/a.fits"] = b"no FITS file"
    address = web.address.replace("//", "//me:p@ss@")
    for words in (
        ("apply", f"{address}/a.fits?sig=deadbeef", "--output-dir", folder, "--mask", mask),
        ("apply", f"{address}/none.fits?sig=deadbeef", "--output-dir", folder, "--mask", mask),
        ("apply", *[f"{address}/{n}/a.fits?sig=deadbeef" for n in "xy"], "--output-dir", folder),
        ("inspect", f"{address}/a.fits?sig=deadbeef"),
    ):
        outcome = invoke(*words)
        assert outcome.code in {2, 3, 4, 11}
        assert "deadbeef" not in outcome.out + outcome.err
        assert "p@ss" not in outcome.out + outcome.err
        assert f"{web.address}/" in outcome.err
        assert "staged" not in outcome.err
    assert [path.name for path in folder.iterdir()] == ["mask.fits"]


def test_the_step_reads_and_writes_urls(folder: Path, store: Any, ramp: Path, mask: Path) -> None:
    store.put([str(ramp), str(mask)], "night/")
    told = {"override_mask": "s3://night/mask.fits"}
    result = DQInitStep.call("s3://night/a_uncal.fits", **told)
    assert "FlaggedRamp of s3://night/a_uncal.fits" in repr(result)
    assert result.save("s3://night/out.fits") == "s3://night/out.fits"
    store.get("night/out.fits", str(folder / "out.fits"))
    expected = apply_dq(ramp, folder / "expected.fits", mask=mask)
    assert result.applied.counts == expected.counts
    assert unit_cards(folder / "out.fits") == unit_cards(folder / "expected.fits")
    copy = result._path
    assert result.pixeldq[2, 3] == 2049
    result.close()
    del result
    assert not copy.exists()


def test_local_files_load_nothing_of_it(folder: Path, ramp: Path, mask: Path) -> None:
    code = (
        "import sys, tmt_dq; tmt_dq.apply_dq(*sys.argv[1:3], mask=sys.argv[3]);"
        "print([m for m in ('fsspec', 's3fs', 'aiohttp', 'botocore') if m in sys.modules])"
    )
    outcome = run_python("-c", code, ramp, folder / "out.fits", mask)
    assert outcome.stdout.strip() == "[]", outcome.stderr


def night(store: Any, folder: Path) -> list[str]:
    """Put three ramps into a store; return their URLs."""
    for number in range(3):
        ramp = make_ramp(folder / f"r{number}_uncal.fits")
        store.put(str(ramp), f"night/raw/{ramp.name}")
    store.pipe("night/raw/notes.txt", b"-")
    return [f"s3://night/raw/r{number}_uncal.fits" for number in range(3)]


def test_inputs_of_a_batch(folder: Path, store: Any) -> None:
    urls = night(store, folder)
    store.pipe("night/raw/list.txt", b"r2_uncal.fits\ns3://night/raw/r0_uncal.fits\n")
    for names, found in (
        (["s3://night/raw/"], urls),
        (["s3://night/raw/r[01]*"], urls[:2]),
        ([urls[1]], [urls[1]]),
        (["@s3://night/raw/list.txt"], [urls[2], urls[0]]),
    ):
        assert find_inputs(names, output_dir=folder) == found
    assert find_inputs([], manifests=["s3://night/raw/list.txt"], output_dir=folder) == [
        urls[2],
        urls[0],
    ]
    with pytest.raises(ConfigError, match="no FITS file"):
        find_inputs(["s3://night/none/"], output_dir=folder)


def test_a_night_from_store_to_store_goes_on_where_it_was(
    folder: Path, store: Any, mask: Path
) -> None:
    urls = night(store, folder)
    store.put(str(mask), "night/mask.fits")

    def run(**options: Any) -> tuple[int, int, int]:
        result = run_batch(
            "s3://night/raw/",
            output_dir="s3://night/out",
            state_dir=folder / "state",
            jobs=2,
            mask="s3://night/mask.fits",
            **options,
        )
        return result.done, result.skipped, result.failed

    report = folder / "report.jsonl"
    assert run(report=report) == (3, 0, 0)
    assert {json.loads(line)["input"] for line in report.read_text().splitlines()} == set(urls)
    assert run() == (0, 3, 0)
    store.rm_file("night/out/r1_dqinit.fits")
    make_ramp(folder / "changed.fits", (1, 2, 6, 8))
    store.put(str(folder / "changed.fits"), "night/raw/r2_uncal.fits")
    assert run() == (2, 1, 0)
    store.pipe("night/out/r0_dqinit.fits", b"another's")
    assert run() == (0, 2, 1)
    assert store.cat("night/out/r0_dqinit.fits") == b"another's"
    make_mask(mask, np.zeros((6, 8), np.uint32))
    store.put(str(mask), "night/mask.fits")
    assert run(overwrite=True) == (3, 0, 0)


def test_a_batch_from_a_web_server(folder: Path, web: WebServer, ramp: Path, mask: Path) -> None:
    web.content["/a_uncal.fits"] = ramp.read_bytes()
    (folder / "out").mkdir()
    for expected in ((1, 0), (0, 1)):
        url = f"{web.address}/a_uncal.fits?sig=secret{expected[0]}"
        outcome = invoke(
            "batch", url, "--output-dir", folder / "out", "--mask", mask, "--json", code=0
        )
        answer = json.loads(outcome.out)
        assert (answer["done"], answer["skipped"]) == expected
    kept = [path for path in (folder / "out").iterdir() if path.is_file()]
    assert len(kept) == 2
    assert not any(b"secret" in path.read_bytes() for path in kept)
