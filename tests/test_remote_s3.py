"""Inputs and outputs in an S3 store: a real server on loopback, in a process of its own."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from builders import invoke, make_mask, make_ramp, unit_bytes
from remote_helpers import s3_bucket
from tmt_dq import apply_dq, select_mask, summarize
from tmt_dq.apply.output import write_exposure
from tmt_dq.errors import ConfigError, OutputError, RampFormatError, RemoteError
from tmt_dq.files.urls import Url
from tmt_dq.io import remote, remote_outputs, uploads

# Parts are sent as bytes, as s3fs does itself: aiohttp would have them in pieces.
pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")

BIG = (1, 4, 768, 2048)
"""12 MiB of uint16, and as many of flags: more than what is sent at once, see `pieces`."""


@pytest.fixture(autouse=True)
def pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have parts of 5 MiB, the smallest that S3 takes."""
    monkeypatch.setattr(uploads, "PIECE", 5 << 20)


@pytest.fixture
def store(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return fsspec's file system of a store with an empty bucket "night"."""
    with s3_bucket(s3_endpoint, "night", monkeypatch) as fs:
        yield fs


def unfinished(fs: Any) -> list[Any]:
    return list(fs.call_s3("list_multipart_uploads", Bucket="night").get("Uploads", ()))


def names(fs: Any) -> list[str]:
    fs.invalidate_cache()
    return sorted(fs.find("night"))


@pytest.fixture
def mask(folder: Path) -> Path:
    return make_mask(folder / "mask.fits")


def small(folder: Path, fs: Any, name: str = "a_uncal.fits", **options: Any) -> Path:
    """Write a small ramp here and into the store."""
    path = make_ramp(folder / name, **options)
    fs.put(str(path), f"night/{name}")
    return path


@pytest.fixture(scope="module")
def big_ramp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a ramp whose data differ everywhere."""
    path = make_ramp(tmp_path_factory.mktemp("big") / "big_uncal.fits", (1, 1, 4, 4))
    with fits.open(path) as hdus:
        header = hdus["SCI"].header.copy()
        primary = hdus[0].header.copy()
    data = np.random.default_rng(5).integers(0, 60_000, BIG, dtype=np.uint16)
    for key in ("SUBSIZE1", "SUBSIZE2"):
        for cards in (header, primary):
            if key in cards:
                cards[key] = BIG[3] if key.endswith("1") else BIG[2]
    for cards in (header, primary):
        for key in ("BZERO", "BSCALE"):
            cards.remove(key, ignore_missing=True)
    fits.HDUList(
        [fits.PrimaryHDU(header=primary), fits.ImageHDU(data, header=header, name="SCI")]
    ).writeto(path, overwrite=True)
    return path


def stored(ramp: Path, fs: Any) -> Path:
    """Put a ramp into the store."""
    fs.put(str(ramp), f"night/{ramp.name}")
    return ramp


def wide_mask(folder: Path) -> Path:
    dq = np.zeros(BIG[2:], np.uint32)
    dq[7, 9] = 1024
    return make_mask(folder / "wide.fits", dq)


def same_but_dates(one: Path, two: Path) -> None:
    """Hold that two outputs are the same, byte for byte, but for the cards about the file."""
    with fits.open(one, checksum=True) as first, fits.open(two, checksum=True) as second:
        assert [hdu.name for hdu in first] == [hdu.name for hdu in second]
        about = {"DATE", "FILENAME", "CHECKSUM", "HISTORY", "R_MASK"}
        for old, new in zip(first, second, strict=True):
            cards = [
                [(c.keyword, c.value) for c in hdu.header.cards if c.keyword not in about]
                for hdu in (old, new)
            ]
            assert cards[0] == cards[1]
    for number in range(1, 5):
        assert unit_bytes(one, number) == unit_bytes(two, number)


@pytest.mark.parametrize("way", ["down", "up", "across"])
def test_the_result_is_that_of_local_files(folder: Path, store: Any, mask: Path, way: str) -> None:
    ramp = small(folder, store)
    expected = apply_dq(ramp, folder / "expected.fits", mask=mask)
    source = ramp if way == "up" else "s3://night/a_uncal.fits"
    target = folder / "made.fits" if way == "down" else "s3://night/out/made.fits"
    applied = apply_dq(source, target, mask=mask)
    if way != "down":
        store.get("night/out/made.fits", str(folder / "made.fits"))
    same_but_dates(folder / "expected.fits", folder / "made.fits")
    assert (applied.counts, applied.shape) == (expected.counts, expected.shape)
    assert str(applied.output) == str(target)
    assert unfinished(store) == []


@pytest.mark.parametrize("way", ["up", "across", "across without the store's copying"])
def test_large_ramps_go_in_parts(
    folder: Path, store: Any, big_ramp: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ramp = stored(big_ramp, store)
    mask = wide_mask(folder)
    apply_dq(ramp, folder / "expected.fits", mask=mask)
    sent: list[str] = []
    call = type(store).call_s3

    def watched(self: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        sent.append(method)
        if method == "upload_part_copy" and way.endswith("copying"):
            raise PermissionError("not allowed")
        return call(self, method, *args, **kwargs)

    monkeypatch.setattr(type(store), "call_s3", watched)
    source = ramp if way == "up" else "s3://night/big_uncal.fits"
    done: list[int] = []
    apply_dq(source, "s3://night/made.fits", mask=mask, progress=done.append)
    monkeypatch.undo()
    store.get("night/made.fits", str(folder / "made.fits"))
    same_but_dates(folder / "expected.fits", folder / "made.fits")
    assert sum(done) == (folder / "made.fits").stat().st_size
    assert ("upload_part_copy" in sent) == way.startswith("across")
    assert sent.count("complete_multipart_upload") == 1
    assert unfinished(store) == []


def test_select_reads_the_headers_alone(
    folder: Path, store: Any, big_ramp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(big_ramp, store)
    ranges = []
    read = remote._File.read_range

    def watched(self: Any, start: int, size: int) -> bytes:
        ranges.append(size)
        return read(self, start, size)

    monkeypatch.setattr(remote._File, "read_range", watched)
    selection = select_mask("s3://night/big_uncal.fits")
    assert selection.uri == select_mask(big_ramp).uri
    assert 0 < sum(ranges) < 200_000
    ranges.clear()
    outcome = invoke("select", "s3://night/big_uncal.fits", "--json")
    assert json.loads(outcome.out)["mask"] == selection.uri


def test_masks_and_flags_of_users_by_url(folder: Path, store: Any, mask: Path) -> None:
    ramp = small(folder, store)
    user = folder / "hot.csv"
    user.write_text("x,y,flag\n2,3,HOT\n")
    store.put(str(mask), "night/masks/mask.fits")
    store.put(str(user), "night/masks/hot.csv")
    expected = apply_dq(ramp, folder / "one.fits", mask=mask)
    applied = apply_dq(ramp, folder / "two.fits", mask="s3://night/masks/mask.fits")
    assert applied.counts == expected.counts
    assert (
        applied.mask == fits.getval(folder / "two.fits", "R_MASK") == "s3://night/masks/mask.fits"
    )
    assert str(applied.mask_path) == "s3://night/masks/mask.fits"
    outcome = invoke(
        "apply", ramp, "-o", folder / "three.fits", "--mask", "s3://night/masks/mask.fits",
        "--user-dq", "s3://night/masks/hot.csv", "--user-base", "1",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert "hot.csv" in "".join(map(str, fits.getheader(folder / "three.fits")["HISTORY"]))
    store.pipe("night/masks/bad.fits", b"nothing of the kind")
    with pytest.raises(ValueError, match=r"^s3://night/masks/bad\.fits: ") as caught:
        apply_dq(ramp, folder / "four.fits", mask="s3://night/masks/bad.fits")
    assert "/tmp" not in str(caught.value)


def test_a_mask_that_changed_is_fetched_again(folder: Path, store: Any, mask: Path) -> None:
    ramp = small(folder, store)
    store.put(str(mask), "night/mask.fits")
    first = apply_dq(ramp, folder / "one.fits", mask="s3://night/mask.fits")
    dq = np.full((6, 8), 1024, np.uint32)
    store.put(str(make_mask(folder / "other.fits", dq)), "night/mask.fits")
    second = apply_dq(ramp, folder / "two.fits", mask="s3://night/mask.fits")
    assert (first.counts["DEAD"], second.counts["DEAD"]) == (1, 48)


def test_reports_on_what_is_in_a_store(folder: Path, store: Any, mask: Path) -> None:
    ramp = small(folder, store)
    store.put(str(mask), "night/mask.fits")
    apply_dq(ramp, "s3://night/out.fits", mask=mask)
    apply_dq(ramp, folder / "out.fits", mask=mask)
    assert summarize("s3://night/mask.fits").flags == summarize(mask).flags
    assert summarize("s3://night/out.fits").flags == summarize(folder / "out.fits").flags
    same = invoke("diff", "s3://night/out.fits", folder / "out.fits")
    assert same.code == 0, same.err
    for name in ("mask.fits", "out.fits"):
        told = invoke("explain", f"s3://night/{name}", "--pixel", "4,3")
        assert told.code == 0, told.err
        assert "HOT" in told.out
    store.put(str(mask), "night/mask.fits")
    user = folder / "list.csv"
    user.write_text("x,y,flag\n4,3,DEAD\n")
    told = invoke(
        "apply", ramp, "-o", "s3://night/user.fits", "--mask", "s3://night/mask.fits",
        "--user-dq", user, "--user-base", "1",
    )  # fmt: skip
    assert told.code == 0, told.err
    told = invoke("explain", "s3://night/user.fits", "--pixel", "4,3")
    assert told.code == 0, told.err
    assert "it is elsewhere" in told.out


@pytest.mark.parametrize("ending", [".gz", ".fz"])
def test_compressed_ramps(folder: Path, store: Any, mask: Path, ending: str) -> None:
    from builders import compress_gzip, compress_tiles

    ramp = make_ramp(folder / "a_uncal.fits")
    compress = compress_gzip if ending == ".gz" else compress_tiles
    packed = compress(ramp, folder / f"a_uncal.fits{ending}")
    store.put(str(packed), f"night/a_uncal.fits{ending}")
    apply_dq(packed, folder / "expected.fits", mask=mask)
    applied = apply_dq(f"s3://night/a_uncal.fits{ending}", mask=mask)
    assert str(applied.output) == "s3://night/a_dqinit.fits"
    store.get("night/a_dqinit.fits", str(folder / "made.fits"))
    same_but_dates(folder / "expected.fits", folder / "made.fits")
    assert select_mask(f"s3://night/a_uncal.fits{ending}").uri == select_mask(ramp).uri


def test_outputs_are_not_replaced_unasked(folder: Path, store: Any, mask: Path) -> None:
    ramp = small(folder, store)
    store.pipe("night/out.fits", b"mine")
    with pytest.raises(OutputError, match="exists already"):
        apply_dq(ramp, "s3://night/out.fits", mask=mask)
    assert store.cat("night/out.fits") == b"mine"
    apply_dq(ramp, "s3://night/out.fits", mask=mask, overwrite=True)
    assert store.cat("night/out.fits").startswith(b"SIMPLE")
    with pytest.raises(OutputError, match="same file"):
        apply_dq("s3://night/a_uncal.fits", "s3://night/a_uncal.fits", mask=mask, overwrite=True)


@pytest.mark.parametrize("size", ["small", "big"])
def test_an_output_that_appears_meanwhile_is_left_alone(
    folder: Path, store: Any, big_ramp: Path, mask: Path, size: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ramp = small(folder, store) if size == "small" else big_ramp
    chosen = mask if size == "small" else wide_mask(folder)
    write = write_exposure

    def other_first(*args: Any) -> Any:
        store.pipe("night/out.fits", b"another's")
        return write(*args)

    monkeypatch.setattr("tmt_dq.io.remote_outputs.write_exposure", other_first)
    with pytest.raises(OutputError, match="appeared while it was being written"):
        apply_dq(ramp, "s3://night/out.fits", mask=chosen)
    assert store.cat("night/out.fits") == b"another's"
    assert unfinished(store) == []


@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("when", ["upload_part", "complete_multipart_upload"])
def test_nothing_is_left_of_an_upload_that_ends_early(
    folder: Path,
    store: Any,
    big_ramp: Path,
    when: str,
    stop: type[BaseException],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ramp = big_ramp
    call = uploads._ToS3._call

    def broken(self: Any, method: str, **arguments: Any) -> Any:
        if method == when and arguments.get("PartNumber") != 1:
            raise stop
        return call(self, method, **arguments)

    monkeypatch.setattr(uploads._ToS3, "_call", broken)
    with pytest.raises((stop, OutputError)):
        apply_dq(ramp, "s3://night/out.fits", mask=wide_mask(folder))
    assert names(store) == []
    assert unfinished(store) == []


@pytest.mark.parametrize("again", [True, False])
@pytest.mark.parametrize("size", ["small", "big"])
def test_an_answer_that_is_lost(
    folder: Path,
    store: Any,
    big_ramp: Path,
    size: str,
    monkeypatch: pytest.MonkeyPatch,
    *,
    again: bool,
) -> None:
    """What was written is recognized, also when the second try of a library is refused for it."""
    ramp = small(folder, store) if size == "small" else big_ramp
    mask = make_mask(folder / "mask.fits") if size == "small" else wide_mask(folder)
    call = uploads._ToS3._call

    def lost(self: Any, method: str, **arguments: Any) -> Any:
        answer = call(self, method, **arguments)
        if method in {"put_object", "complete_multipart_upload"}:
            if again:
                call(self, "put_object", Body=b"", IfNoneMatch="*")
            raise ConnectionError("reset by peer")
        return answer

    monkeypatch.setattr(uploads._ToS3, "_call", lost)
    apply_dq(ramp, "s3://night/out.fits", mask=mask)
    store.get("night/out.fits", str(folder / "out.fits"))
    with fits.open(folder / "out.fits", checksum=True) as hdus:
        assert [hdu.name for hdu in hdus][1] == "SCI"


_STOPPED = """
import sys
from tmt_dq.io import uploads
from tmt_dq.cli import main
send = uploads._ToS3._send_part
def slow(self, number, part):
    if number == 2:
        print("sending", flush=True)
        sys.stdin.read(1)
    return send(self, number, part)
uploads._ToS3._send_part = slow
uploads.PIECE = 5 << 20
main(sys.argv[1:])
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_process_leaves_no_object(
    folder: Path, store: Any, big_ramp: Path, number: signal.Signals
) -> None:
    ramp = big_ramp
    mask = wide_mask(folder)
    with subprocess.Popen(
        [
            sys.executable,
            "-c",
            _STOPPED,
            "apply",
            ramp,
            "-o",
            "s3://night/out.fits",
            "--mask",
            mask,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "sending\n"
        process.send_signal(number)
        if number == signal.SIGTERM:
            process.stdin.write("x")
            process.stdin.flush()
        code = process.wait(60)
        assert code == (143 if number == signal.SIGTERM else -number)
    assert names(store) == []
    if number == signal.SIGTERM:
        assert unfinished(store) == []
    else:
        # Nobody lives to abort it; the next batch does, or the bucket's rule for such uploads.
        assert uploads.abort_uploads(Url("s3://night/out.fits")) == len(unfinished(store)) + 1
    apply_dq(ramp, "s3://night/out.fits", mask=mask)
    assert names(store) == ["night/out.fits"]


@pytest.mark.parametrize("target", ["here", "there"])
def test_an_input_that_changes_is_noticed(
    folder: Path, store: Any, mask: Path, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    small(folder, store)
    write = write_exposure

    def replaced(*args: Any) -> Any:
        data = bytearray(store.cat("night/a_uncal.fits"))
        data[-2880] ^= 1
        store.pipe("night/a_uncal.fits", bytes(data))
        return write(*args)

    monkeypatch.setattr("tmt_dq.io.remote_outputs.write_exposure", replaced)
    output = folder / "out.fits" if target == "here" else "s3://night/out.fits"
    with pytest.raises(RemoteError, match=r"a_uncal\.fits: changed while it was being read"):
        apply_dq("s3://night/a_uncal.fits", output, mask=mask)
    assert not (folder / "out.fits").exists()
    assert names(store) == ["night/a_uncal.fits"]


def test_what_is_missing_or_makes_no_sense(folder: Path, store: Any, mask: Path) -> None:
    ramp = small(folder, store)
    for url in ("s3://night/none.fits", "s3://nobucket/none.fits"):
        with pytest.raises(RemoteError, match="is not there") as caught:
            apply_dq(url, folder / "out.fits", mask=mask)
        assert caught.value.exit_code == 11
        assert "AWS_ENDPOINT_URL" in str(caught.value.hint)
    store.pipe("night/text.fits", b"no FITS at all")
    with pytest.raises(RampFormatError, match="not a FITS file"):
        apply_dq("s3://night/text.fits", folder / "out.fits", mask=mask)
    store.pipe("night/cut.fits", ramp.read_bytes()[:-2880])
    with pytest.raises(RampFormatError, match="truncated"):
        apply_dq("s3://night/cut.fits", folder / "out.fits", mask=mask)
    with pytest.raises(ConfigError, match="cannot be changed in place"):
        apply_dq("s3://night/a_uncal.fits", in_place=True, mask=mask)
    with pytest.raises(ConfigError, match="made a pathlib"):
        apply_dq(Path("s3://night/a_uncal.fits"), folder / "out.fits", mask=mask)
    with pytest.raises(OutputError, match="is not there"):
        apply_dq(ramp, "s3://nobucket/out.fits", mask=mask)
    with pytest.raises(OutputError, match="folder"):
        apply_dq(ramp, "s3://night/", mask=mask)
    outcome = invoke("certify", "s3://night/mask.fits")
    assert outcome.code == 2
    assert "on this machine" in outcome.err


def test_no_credentials(
    folder: Path, store: Any, mask: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import s3fs

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(folder / "none"))
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(RemoteError, match="no credentials") as caught:
        apply_dq("s3://night/a_uncal.fits", folder / "out.fits", mask=mask)
    s3fs.S3FileSystem.clear_instance_cache()
    assert "FSSPEC_S3_ANON" in str(caught.value.hint)


def test_fsspec_kwargs_say_what_the_environment_does_not(
    folder: Path, store: Any, mask: Path, s3_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    small(folder, store)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name)
    told = {"key": "who", "secret": "verysecret", "endpoint_url": s3_endpoint}
    applied = apply_dq(
        "s3://night/a_uncal.fits", "s3://night/out.fits", mask=mask, fsspec_kwargs=told
    )
    assert "verysecret" not in repr(applied)
    assert b"verysecret" not in store.cat("night/out.fits")
    assert select_mask("s3://night/a_uncal.fits", fsspec_kwargs=told).path is not None


def test_the_step_reads_and_writes_urls(folder: Path, store: Any, mask: Path) -> None:
    from tmt_dq import DQInitStep

    ramp = small(folder, store)
    apply_dq(ramp, folder / "expected.fits", mask=mask)
    result = DQInitStep.call("s3://night/a_uncal.fits", override_mask=str(mask))
    result.save("s3://night/made.fits")
    store.get("night/made.fits", str(folder / "made.fits"))
    same_but_dates(folder / "expected.fits", folder / "made.fits")
    other = DQInitStep.call(
        "s3://night/a_uncal.fits", override_mask=str(mask), output_dir=str(folder),
        save_results=True,
    )  # fmt: skip
    same_but_dates(folder / "expected.fits", folder / "a_dqinit.fits")
    other.close()
    model = DQInitStep.call("s3://night/a_uncal.fits", override_mask=str(mask))
    with fits.open(folder / "expected.fits") as hdus:
        np.testing.assert_array_equal(model.pixeldq, hdus["PIXELDQ"].data)
    model.close()


@pytest.mark.parametrize(
    ("size", "copies"),
    [
        (100 << 20, [(1 << 20, 80 << 20)]),
        (100 << 20, [(6 << 20, 80 << 20)]),
        (100 << 20, [(0, 100 << 20)]),
        (3 << 30, [(5760, 2 << 30), ((2 << 30) + 10_000, 900 << 20)]),
        (60 << 20, [(5760, 4 << 20), (30 << 20, 4 << 20)]),
        (20 << 20, []),
        (17 << 20, [(5760, 6 << 20)]),
        (900 << 30, []),
    ],
)
def test_parts_are_such_as_s3_takes(size: int, copies: list[tuple[int, int]]) -> None:
    """S3: 10,000 parts at most, 5 MiB at least but for the last, 5 GiB at most."""
    copied = [remote_outputs.Copied(place, count, None, 0) for place, count in copies]  # type: ignore[arg-type]
    parts = uploads.plan_parts(size, copied)
    assert len(parts) <= 10_000
    assert [part.place for part in parts] == list(
        np.cumsum([0, *(part.size for part in parts[:-1])])
    )
    assert sum(part.size for part in parts) == size
    assert min((part.size for part in parts[:-1]), default=5 << 20) >= 5 << 20
    assert max(part.size for part in parts) <= 5 << 30
    for part in parts:
        if part.copied is not None:
            assert part.copied.place <= part.place
            assert part.place + part.size <= part.copied.end


@pytest.mark.parametrize("kind", ["subarray", "image", "with ASDF"])
def test_other_kinds_of_exposures(folder: Path, store: Any, kind: str) -> None:
    shape = {"subarray": (1, 3, 4, 5), "image": (6, 8)}.get(kind, (1, 3, 6, 8))
    start = (3, 2) if kind == "subarray" else (1, 1)
    ramp = make_ramp(folder / "a_uncal.fits", shape, start=start)
    if kind == "with ASDF":
        from tmt_dq.datamodels import TMTRampModel

        with TMTRampModel(str(ramp)) as model:
            model.add_history_entry("simulated")
            model.save(str(ramp))
        with fits.open(ramp) as hdus:
            assert "ASDF" in [hdu.name for hdu in hdus]
    store.put(str(ramp), "night/a_uncal.fits")
    mask = make_mask(folder / "mask.fits")
    apply_dq(ramp, folder / "expected.fits", mask=mask)
    apply_dq("s3://night/a_uncal.fits", "s3://night/made.fits", mask=mask)
    store.get("night/made.fits", str(folder / "made.fits"))
    with fits.open(folder / "expected.fits") as one, fits.open(folder / "made.fits") as two:
        assert [hdu.name for hdu in one] == [hdu.name for hdu in two]
        for old, new in zip(one[1:], two[1:], strict=True):
            if old.name != "ASDF":  # it holds the file's name and the time
                assert old.data.tobytes() == new.data.tobytes()


def test_names_with_signs_and_versions(folder: Path, store: Any, mask: Path) -> None:
    ramp = make_ramp(folder / "ramp.fits")
    for name in ("a b+c%20d", "é#1", "é#2", "x[1]*"):
        store.pipe(f"night/{name}_uncal.fits", ramp.read_bytes())
        applied = apply_dq(f"s3://night/{name}_uncal.fits", mask=mask)
        assert str(applied.output) == f"s3://night/{name}_dqinit.fits"
        assert f"night/{name}_dqinit.fits" in names(store)
    store.call_s3(
        "put_bucket_versioning", Bucket="night", VersioningConfiguration={"Status": "Enabled"}
    )
    first = store.call_s3("put_object", Bucket="night", Key="v.fits", Body=ramp.read_bytes())
    store.pipe("night/v.fits", b"the next one")
    url = f"s3://night/v.fits?versionId={first['VersionId']}"
    apply_dq(ramp, folder / "expected.fits", mask=mask)
    apply_dq(url, folder / "out.fits", mask=mask)
    same_but_dates(folder / "expected.fits", folder / "out.fits")
    for output in ("s3://night/v.fits", "s3a://night/v.fits"):
        with pytest.raises(OutputError, match="same file"):
            apply_dq(url, output, mask=mask, overwrite=True)
