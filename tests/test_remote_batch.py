"""Batches of what is in an S3 store: found, resumed, written there, no secret in the books."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builders import invoke, make_mask, make_ramp
from remote_helpers import Answer, s3_bucket, web_server
from tmt_dq.batch import Processes, find_inputs, plan_batch, run_batch, serial
from tmt_dq.errors import ConfigError, RemoteError

pytestmark = pytest.mark.skip(reason="batches get URLs by staging, which is not there yet")


@pytest.fixture
def store(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    ramp = make_ramp(tmp_path / "ramp.fits").read_bytes()
    with s3_bucket(s3_endpoint, "archive", monkeypatch) as fs:
        fs.pipe({f"archive/night/{number}_uncal.fits": ramp for number in range(3)})
        yield fs


@pytest.fixture
def mask(folder: Path) -> Path:
    return make_mask(folder / "mask.fits")


NIGHT = [f"s3://archive/night/{number}_uncal.fits" for number in range(3)]


def test_inputs(folder: Path, store: Any) -> None:
    store.pipe("archive/night/old_dqinit.fits", b"")
    store.pipe("archive/night/readme.txt", b"")
    store.pipe("archive/lists/night.txt", b"# a night\n../night/0_uncal.fits\n" + NIGHT[1].encode())
    association = {"products": [{"members": [{"expname": NIGHT[2], "exptype": "science"}]}]}
    store.pipe("archive/lists/asn.json", json.dumps(association).encode())
    (folder / "list.txt").write_text("\n".join(NIGHT))
    given = {
        "s3://archive/night/*_uncal.fits": NIGHT,
        "s3://archive/night/": NIGHT,
        "s3://archive/night": NIGHT,
        "s3://archive/**/1_uncal.fits": [NIGHT[1]],
        NIGHT[0]: [NIGHT[0]],
        f"@{folder}/list.txt": NIGHT,
        "@s3://archive/lists/asn.json": [NIGHT[2]],
        "s3://archive/lists/asn.json": [NIGHT[2]],
        "@s3://archive/lists/night.txt": [
            "s3://archive/lists/../night/0_uncal.fits", NIGHT[1]
        ],
    }  # fmt: skip
    for name, expected in given.items():
        assert find_inputs([name], output_dir=folder) == expected, name
    for name in ("s3://archive/empty/", "s3://archive/night/*.nothing"):
        with pytest.raises(ConfigError, match="no FITS file"):
            find_inputs([name], output_dir=folder)


def actions(*args: Any, **options: Any) -> list[tuple[str, str]]:
    return [(plan.action, plan.reason) for plan in plan_batch(*args, **options)]


def test_a_night_from_store_to_store_goes_on_where_it_was(
    folder: Path, store: Any, mask: Path
) -> None:
    told: dict[str, Any] = {"output_dir": "s3://archive/reduced", "mask": str(mask)}
    first = run_batch("s3://archive/night/", mapper=serial, **told)
    assert (first.done, first.failed) == (3, 0)
    assert sorted(store.ls("archive/reduced", refresh=True, detail=False)) == [
        f"archive/reduced/{number}_dqinit.fits" for number in range(3)
    ]
    assert actions("s3://archive/night/", **told) == [("skip", "done and still true")] * 3
    # One input changes (its size stays), one output is removed, one is written by somebody else.
    data = bytearray(store.cat(NIGHT[0]))
    data[-2880] ^= 1
    store.pipe(NIGHT[0], bytes(data))
    store.rm("archive/reduced/1_dqinit.fits")
    store.pipe("archive/reduced/2_dqinit.fits", b"other")
    assert actions("s3://archive/night/", **told) == [
        ("process", "input changed"),
        ("process", "output missing"),
        ("refuse", "output exists"),
    ]
    second = run_batch("s3://archive/night/", mapper=serial, **told)
    assert (second.done, second.skipped, second.failed) == (2, 0, 1)
    assert store.cat("archive/reduced/2_dqinit.fits") == b"other"


def test_one_bad_object_and_a_report(folder: Path, store: Any, mask: Path) -> None:
    store.pipe("archive/night/1_uncal.fits", b"no FITS")
    store.rm("archive/night/2_uncal.fits")
    outcome = invoke(
        "batch", *NIGHT, "--output-dir", "s3://archive/reduced", "--mask", mask, "--jobs", 2,
        "--report", folder / "night.jsonl", "--state-dir", folder / "state",
    )  # fmt: skip
    assert outcome.code == 9
    lines = [json.loads(line) for line in (folder / "night.jsonl").read_text().splitlines()]
    found = {line["input"]: (line["status"], line.get("error")) for line in lines}
    assert found == {
        NIGHT[0]: ("done", None),
        NIGHT[1]: ("failed", "RampFormatError"),
        NIGHT[2]: ("failed", "RemoteError"),
    }
    assert list((folder / "state").iterdir())
    shown = invoke(
        "batch", *NIGHT, "--output-dir", "s3://archive/reduced", "--mask", mask, "--dry-run",
        "--state-dir", folder / "state",
    )  # fmt: skip
    assert "1 to skip" in shown.out


def test_processes_have_their_own_connections(folder: Path, store: Any, mask: Path) -> None:
    store.put(str(mask), "archive/mask.fits")
    result = run_batch(
        NIGHT, output_dir=folder / "out", mask="s3://archive/mask.fits", mapper=Processes(2)
    )
    assert (result.done, result.masks) == (3, {"s3://archive/mask.fits": 3})
    told: dict[str, Any] = {"output_dir": folder / "out", "mask": "s3://archive/mask.fits"}
    assert actions(NIGHT, **told) == [("skip", "done and still true")] * 3
    other = make_mask(folder / "other.fits", np.full((6, 8), 1024, np.uint32))
    store.put(str(other), "archive/mask.fits")
    assert actions(NIGHT, **told) == [("process", "mask.fits changed")] * 3
    with pytest.raises(RemoteError, match="is not there"):
        run_batch(NIGHT, output_dir=folder / "out", mask="s3://archive/none.fits")
    with pytest.raises(ConfigError, match="files on this machine"):
        run_batch(
            NIGHT, output_dir=folder / "out", mask=None, affected_by="tmt_0100.pmap"
        )  # fmt: skip


def test_presigned_urls_leave_no_secret(folder: Path, mask: Path) -> None:
    with web_server() as web:
        ramp = make_ramp(folder / "a_uncal.fits")
        web.content |= {"/a_uncal.fits": ramp.read_bytes(), "/mask.fits": mask.read_bytes()}
        told: dict[str, Any] = {"output_dir": folder / "out"}
        for secret in ("one", "two"):
            outcome = invoke(
                "batch", f"{web.address}/a_uncal.fits?sig=secret{secret}",
                f"{web.address}/b_uncal.fits?sig=secret{secret}",
                "--output-dir", told["output_dir"], "--report", folder / "report.jsonl",
                "--jobs", 1,
                "--mask", f"{web.address}/mask.fits?sig=secret{secret}",
            )  # fmt: skip
            assert outcome.code == 9
            # Another signature is not another file.
            assert ("1 done" if secret == "one" else "1 skipped") in outcome.out, outcome.out
            for path in (*(folder / "out").iterdir(), folder / "report.jsonl"):
                assert b"secret" not in path.read_bytes(), path
            assert "secret" not in outcome.out + outcome.err
        web.misbehave = lambda _: Answer(status=403)
        result = run_batch(
            f"{web.address}/a_uncal.fits?sig=x", output_dir=folder / "out", mask=mask, mapper=serial
        )
        assert result.failures == {"RemoteError": 1}
