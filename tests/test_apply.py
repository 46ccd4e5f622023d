"""DQ initialization from file to file: what the specification says, literally.

Golden numbers are those of the project's facts (from JWST's tests); the reader of every output is
astropy.
"""

import hashlib
import importlib.metadata
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from builders import (
    CONVENTION,
    GOLDEN_DQ_DEF,
    arrays,
    compress_gzip,
    compress_tiles,
    data_unit,
    dq_def,
    folder_state,
    invoke,
    make_mask,
    make_ramp,
    ramp_hdus,
    specified_pixeldq,
    unit_bytes,
    write_hdus,
)
from tmt_dq import __version__
from tmt_dq.apply.apply import apply_dq
from tmt_dq.apply.output import Applied
from tmt_dq.errors import ConfigError, RampFormatError
from tmt_dq.files import copying
from tmt_dq.files.names import default_output
from tmt_dq.fits import writer as units
from tmt_dq.masks.mask import read_mask
from tmt_dq.simulate import simulate_ramp

Run = Callable[..., Path]


@pytest.fixture(params=["function", "command"])
def run(request: pytest.FixtureRequest, folder: Path) -> Run:
    """Run through one face; make sure that nothing but the output appeared, and no file changed."""

    def go(ramp: Path, output: Path | None = None, **options: Any) -> Path:
        output = folder / "out.fits" if output is None else output
        before = folder_state(folder)
        if request.param == "function":
            applied = apply_dq(ramp, output, **options)
            assert applied.output == output
        else:
            words: list[object] = ["apply", ramp, "-o", output]
            for key, value in options.items():
                option = f"--{key.replace('_', '-')}"
                if isinstance(value, tuple):
                    words += [option, ",".join(map(str, value))]
                else:
                    words += [option] if value is True else [option, value]
            invoke(*words, code=0)
        after = folder_state(folder)
        name = str(output.relative_to(folder))
        assert after.pop(name)
        before.pop(name, None)
        assert after == before
        return output

    return go


def header(path: Path, index: int | str = 0) -> Any:
    return fits.getheader(path, index)


def recorded(path: Path, text: str) -> bool:
    """Whether HISTORY says something; its lines break anywhere, and blanks at a break are lost."""
    return "".join(text.split()) in "".join("".join(header(path)["HISTORY"]).split())


@pytest.mark.contract
def test_golden_translations(run: Run, folder: Path) -> None:
    stored = np.array([[2, 4, 8, 16, 1, 3, 5, 9, 17]], np.uint32)
    mask = make_mask(folder / "mask.fits", stored, rows=GOLDEN_DQ_DEF)
    ramp = make_ramp(folder / "ramp.fits", (1, 2, 1, 9))
    pixeldq = arrays(run(ramp, mask=mask))["PIXELDQ"]
    assert pixeldq.dtype == np.uint32
    assert pixeldq.tolist() == [[1024, 2048, 16777216, 16384, 1, 1025, 2049, 16777217, 16385]]


@pytest.mark.contract
def test_golden_combination(run: Run, folder: Path) -> None:
    mask = make_mask(folder / "mask.fits", np.array([[1]], np.uint32))
    existing = np.array([[4]], np.uint32)
    ramp = make_ramp(folder / "ramp.fits", (1, 2, 1, 1), pixeldq=existing)
    assert arrays(run(ramp, mask=mask))["PIXELDQ"].tolist() == [[5]]


@pytest.mark.contract
def test_golden_subarray(run: Run, folder: Path) -> None:
    # SUBSTRT1=1, SUBSTRT2=467, 288 x 224 of a 1032 x 1024 mask.
    dq = np.zeros((1024, 1032), np.uint32)
    dq[542, 100], dq[550, 100], dq[580, 80] = 1024, 2048, 1
    dq[465, 0], dq[690, 0], dq[500, 288] = 4096, 4096, 4096  # just outside
    mask = make_mask(folder / "mask.fits", dq)
    ramp = make_ramp(folder / "ramp.fits", (1, 1, 224, 288), start=(1, 467))
    pixeldq = arrays(run(ramp, mask=mask))["PIXELDQ"]
    assert pixeldq.shape == (224, 288)
    assert (pixeldq[76, 100], pixeldq[84, 100], pixeldq[114, 80]) == (1024, 2048, 1)
    assert np.count_nonzero(pixeldq) == 3


def test_missing_extensions_are_created(run: Run, folder: Path) -> None:
    ramp = make_ramp(folder / "ramp.fits", (2, 3, 6, 8))
    output = run(ramp, mask=make_mask(folder / "mask.fits"))
    found = arrays(output)
    expected = np.zeros((6, 8), np.uint32)
    expected[0, 0], expected[2, 3] = 1024, 2049
    assert found["PIXELDQ"].dtype == np.uint32
    assert np.array_equal(found["PIXELDQ"], expected)
    assert found["GROUPDQ"].dtype == np.uint8
    assert found["GROUPDQ"].shape == (2, 3, 6, 8)
    assert not found["GROUPDQ"].any()
    with fits.open(output) as hdus:
        assert [hdu.name for hdu in hdus] == [
            *("PRIMARY", "SCI", "PIXELDQ", "GROUPDQ", "DQ_DEF", "DQ_SOURCES")
        ]
        hdus.verify("exception")
        stored = hdus["PIXELDQ"]._orig_bitpix
        assert (stored, hdus["PIXELDQ"]._orig_bzero) == (32, 2**31)
        table = hdus["DQ_DEF"].data
        assert table.names == ["BIT", "VALUE", "NAME", "DESCRIPTION"]
        assert {row["NAME"]: row["VALUE"] for row in table} == {
            name: value for name, value in CONVENTION.items() if name != "GOOD"
        }
        assert all(row["VALUE"] == 1 << int(row["BIT"]) for row in table)


def test_existing_flags_keep_their_bytes_and_keywords(run: Run, folder: Path) -> None:
    existing = np.random.default_rng(2).integers(0, 256, (2, 3, 6, 8), np.uint8)
    hdus = ramp_hdus((2, 3, 6, 8), pixeldq=np.zeros((6, 8), np.int16), groupdq=existing)
    hdus["PIXELDQ"].header["MYKEY"] = ("mine", "a comment")
    hdus["PIXELDQ"].header["HISTORY"] = "flagged by hand"
    ramp = write_hdus(folder / "ramp.fits", hdus)
    output = run(ramp, mask=make_mask(folder / "mask.fits"))
    assert unit_bytes(output, "GROUPDQ") == unit_bytes(ramp, "GROUPDQ")
    assert np.array_equal(arrays(output)["GROUPDQ"], existing)
    found = header(output, "PIXELDQ")
    assert found["MYKEY"] == "mine"
    assert found.comments["MYKEY"] == "a comment"
    assert list(found["HISTORY"]) == ["flagged by hand"]


def other_extensions() -> list[Any]:
    rng = np.random.default_rng(4)
    err = fits.ImageHDU(rng.normal(size=(1, 3, 6, 8)).astype(np.float32), name="ERR")
    err.header["BUNIT"] = "DN"
    return [
        err,
        fits.ImageHDU(rng.integers(0, 9, (5,)), name="ERR", ver=2),
        fits.BinTableHDU.from_columns(
            [
                fits.Column("T", "D", array=rng.normal(size=7)),
                fits.Column("V", "PJ()", array=np.array([[1], [2, 3]], dtype=object)),
            ],
            name="TIMES",
        ),
        fits.TableHDU.from_columns([fits.Column("A", "A5", array=["ab", "c"])], name="TEXT"),
        fits.ImageHDU(name="EMPTY"),
        fits.ImageHDU(rng.integers(0, 99, (3, 3), np.uint8)),
        fits.ImageHDU(rng.integers(0, 9, (6, 8), np.uint16), name="MY_MAP"),
    ]


@pytest.mark.parametrize("checksum", [True, False])
def test_everything_else_comes_through_byte_for_byte(
    run: Run, folder: Path, checksum: bool
) -> None:
    hdus = ramp_hdus(extra=other_extensions())
    image = fits.PrimaryHDU(np.arange(12, dtype=np.int16), hdus[0].header)
    hdus = fits.HDUList([image, *hdus[1:]])
    ramp = write_hdus(folder / "ramp.fits", hdus, checksum=checksum)
    output = run(ramp, mask=make_mask(folder / "mask.fits"))
    assert data_unit(output, 0) == data_unit(ramp, 0)
    verify_checksums(output)
    for index in range(1, len(hdus)):
        assert unit_bytes(output, index) == unit_bytes(ramp, index)
    with fits.open(output) as found:
        assert [hdu.name for hdu in found[len(hdus) :]] == [
            *("PIXELDQ", "GROUPDQ", "DQ_DEF", "DQ_SOURCES")
        ]


@pytest.mark.parametrize("name", ["PIXELDQ", "GROUPDQ"])
def test_flags_in_the_primary_unit_are_refused(folder: Path, name: str) -> None:
    hdus = ramp_hdus()
    flags = np.ones((6, 8), np.uint32) if name == "PIXELDQ" else np.ones((1, 3, 6, 8), np.uint8)
    hdus[0].header["EXTNAME"] = name
    primary = fits.PrimaryHDU(flags, hdus[0].header)
    ramp = write_hdus(folder / "ramp.fits", fits.HDUList([primary, hdus[1]]))
    mask = make_mask(folder / "mask.fits")
    before = folder_state(folder)
    with pytest.raises(RampFormatError, match=f"the primary HDU is called {name}; expected"):
        apply_dq(ramp, folder / "out.fits", mask=mask)
    assert folder_state(folder) == before


def with_card(path: Path, unit: int, card: str, *, without: str = "UNUSED") -> Path:
    """Write a ramp with a card, as it is, in a unit's header, and without another one."""
    hdus = ramp_hdus(extra=[fits.ImageHDU(np.ones((6, 8), np.int32), name="PIXELDQ")])
    hdus[unit].header["ANYTHING"] = "x"
    content = write_hdus(path, hdus).read_bytes().replace(f"{without:8}=".encode(), b"OTHER   =")
    place = content.index(b"ANYTHING= 'x       '")
    path.write_bytes(content[:place] + card.ljust(80).encode() + content[place + 80 :])
    return path


@pytest.mark.parametrize("value", ["NaN", "-inf", "0x5 / hex", "1,5", "'unclosed"])
@pytest.mark.parametrize("unit", [0, 1])
def test_cards_that_nobody_needs_may_be_damaged(folder: Path, value: str, unit: int) -> None:
    # A sensor that is off is no reason not to have the night's data.
    card, output = f"ANYTHING= {value}", folder / "out.fits"
    ramp = with_card(folder / "ramp.fits", unit, card)
    apply_dq(ramp, output, mask=make_mask(folder / "mask.fits"))
    assert output.read_bytes().count(card.ljust(80).encode()) == 1
    assert arrays(output)["PIXELDQ"][0, 0] == CONVENTION["DEAD"] | 1


@pytest.mark.parametrize(
    ("keyword", "unit"),
    [("DETECTOR", 0), ("SUBSTRT1", 0), ("FASTAXIS", 0), ("BZERO", 2), ("BSCALE", 2), ("BLANK", 2)],
)
def test_cards_that_are_needed_may_not(folder: Path, keyword: str, unit: int) -> None:
    card = f"{keyword:8}= NaN"
    ramp = with_card(folder / "ramp.fits", unit, card, without=keyword)
    place = "PIXELDQ" if unit else "the header of HDU 0 is damaged"
    message = f"ramp.fits: {place}: the card '{card}' has no value"
    with pytest.raises(RampFormatError, match=re.escape(message)):
        apply_dq(ramp, folder / "out.fits", mask=make_mask(folder / "mask.fits"))


def test_data_without_padding(run: Run, folder: Path) -> None:
    ramp = make_ramp(folder / "ramp.fits")
    os.truncate(ramp, 6048)
    output = run(ramp, mask=make_mask(folder / "mask.fits"))
    assert data_unit(output, "SCI")[:288] == ramp.read_bytes()[5760:]
    assert not any(data_unit(output, "SCI")[288:])
    assert output.stat().st_size % 2880 == 0


def test_what_the_output_says_of_itself(run: Run, folder: Path) -> None:
    mask = make_mask(folder / "mask.fits")
    ramp = make_ramp(folder / "ramp.fits", header={"OBSERVER": "me", "HISTORY": "read out"})
    found = header(run(ramp, mask=mask))
    assert found["S_DQINIT"] == "COMPLETE"
    assert found["R_MASK"] == str(mask)
    assert found["FILENAME"] == "out.fits"
    assert found["CAL_VER"] == f"tmt-dq {__version__}"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}", found["DATE"])
    assert "CRDS_CTX" not in found  # the rules were not asked
    lines = list(found["HISTORY"])
    assert lines[0] == "read out"
    for part in ("dq_init", "COMPLETE", "mask.fits", "2 pixels flagged"):
        assert recorded(folder / "out.fits", part)
    original = header(ramp)
    for key in ("TELESCOP", "INSTRUME", "DETECTOR", "DATE-OBS", "TIME-OBS", "OBSERVER", "SUBSTRT1"):
        assert found[key] == original[key]
        assert found.comments[key] == original.comments[key]


def test_mask_chosen_by_the_rules(run: Run, folder: Path) -> None:
    ramp = make_ramp(folder / "ramp.fits", start=(1, 1))
    output = run(ramp)
    found = header(output)
    assert found["R_MASK"] == "crds://tmt_iris_mask_0101.fits"
    assert found["CRDS_CTX"] == "tmt_0100.pmap"
    assert found["CRDS_VER"] == importlib.metadata.version("crds")
    assert recorded(output, "tmt_0100.pmap")
    # Four rows and columns of reference pixels, 2^31.
    expected = np.zeros((6, 8), np.uint32)
    expected[:4], expected[:, :4] = 2147483648, 2147483648
    assert np.array_equal(arrays(output)["PIXELDQ"], expected)


@pytest.mark.parametrize(("detector", "number"), [("IRIS2", 2), ("IMG2", 2), ("img4", 4)])
def test_detectors_by_any_name(run: Run, folder: Path, detector: str, number: int) -> None:
    ramp = make_ramp(folder / "ramp.fits", header={"DETECTOR": detector}, start=(2000, 4091))
    output = run(ramp)
    assert header(output)["DETECTOR"] == detector
    assert f"R_MASK  = 'crds://tmt_iris_mask_010{number}" in header(output).tostring()
    # Rows 4091 and 4092 are active, 4093 to 4096 are reference pixels.
    expected = np.zeros((6, 8), np.uint32)
    expected[2:] = 2147483648
    assert np.array_equal(arrays(output)["PIXELDQ"], expected)


@pytest.mark.parametrize("empty", [False, True])
def test_keywords_in_the_science_header(run: Run, folder: Path, empty: bool) -> None:
    """They stand in for those that the primary header lacks, or has without a value."""
    hdus = ramp_hdus(start=(3, 2))
    for key in ("INSTRUME", "DETECTOR", "SUBSTRT1", "SUBSTRT2", "SUBSIZE1", "SUBSIZE2"):
        hdus["SCI"].header[key] = hdus[0].header.pop(key)
        if empty:
            hdus[0].header[key] = fits.card.Undefined()
    dq = np.arange(100, dtype=np.uint32).reshape(10, 10)
    ramp = write_hdus(folder / "ramp.fits", hdus)
    output = run(ramp, mask=make_mask(folder / "mask.fits", dq))
    assert np.array_equal(arrays(output)["PIXELDQ"], dq[1:7, 2:10])


def test_long_and_unusual_names(run: Run, folder: Path) -> None:
    deep = folder / ("a rather long name of a folder " * 3).strip() / "ünïcode 名前"
    deep.mkdir(parents=True)
    mask = make_mask(deep / "mäsk.fits")
    ramp = make_ramp(deep / "rämp.fits")
    output = run(ramp, deep / "öut.fits", mask=mask)
    with fits.open(output) as hdus:
        hdus.verify("exception")
        written = hdus[0].header["R_MASK"]
        assert len(written) > 68
        # FITS knows ASCII only: other letters are written as escapes, which can be undone.
        assert written.encode().decode("unicode_escape") == str(mask)
        assert hdus[0].header["FILENAME"].encode().decode("unicode_escape") == "öut.fits"
    verify_checksums(output)


def test_names_of_every_length(folder: Path) -> None:
    # Around 40 to 70 letters there is no room for a comment beside the value.
    ramp = make_ramp(folder / "ramp.fits")
    for length in [*range(len(str(folder)) + 6, 100), 150]:
        mask = make_mask(folder / ("m" * (length - len(str(folder)) - 1)))
        output = folder / ("o" * min(length, 100))
        apply_dq(ramp, output, mask=mask, sync=False)
        assert header(output)["R_MASK"] == str(mask)
        assert header(output)["FILENAME"] == output.name
        output.unlink()


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_header_that_needs_more_room_than_was_left(folder: Path, dry_run: bool) -> None:
    # A path of 1,600 letters takes 24 cards and more, of R_MASK and HISTORY.
    deep = folder.joinpath(*["d" * 200] * 8)
    deep.mkdir(parents=True)
    ramp, mask = make_ramp(folder / "ramp.fits"), make_mask(deep / "mask.fits")
    applied = apply_dq(ramp, folder / "out.fits", mask=mask, dry_run=dry_run)
    assert applied.counts["HOT"] == 1
    if not dry_run:
        assert header(folder / "out.fits")["R_MASK"] == str(mask)
        assert data_unit(folder / "out.fits", "SCI") == data_unit(ramp, "SCI")


def verify_checksums(path: Path) -> int:
    """Verify every CHECKSUM and DATASUM with astropy; return how many units have them."""
    count = 0
    with fits.open(path, checksum=True) as hdus:  # warns, and warnings are errors here
        for hdu in hdus:
            if "CHECKSUM" in hdu.header:
                assert hdu.verify_checksum() == hdu.verify_datasum() == 1
                count += 1
    return count


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 3, 5, 7), (1, 1, 1, 4096)])
@pytest.mark.parametrize("options", [{"propagate_do_not_use": True}, {}], ids=str)
def test_new_units_are_signed(
    run: Run, folder: Path, shape: tuple[int, ...], options: dict[str, Any]
) -> None:
    dq = np.random.default_rng(1).integers(0, 2**32, shape[2:], np.uint32)
    ramp = make_ramp(folder / "ramp.fits", shape)
    output = run(ramp, mask=make_mask(folder / "mask.fits", dq), **options)
    for name in ("PIXELDQ", "GROUPDQ", "DQ_DEF"):
        assert "CHECKSUM" in header(output, name)
    assert verify_checksums(output) == 5  # the primary header and DQ_SOURCES too


def test_initialized_file_is_initialized_again(run: Run, folder: Path) -> None:
    first = run(make_ramp(folder / "ramp.fits"), mask=make_mask(folder / "one.fits"))
    other = np.zeros((6, 8), np.uint32)
    other[0, 0], other[5, 5] = 4096, 8192
    mask = make_mask(folder / "two.fits", other)
    again = run(first, folder / "again.fits", mask=mask, again=True)
    expected = np.zeros((6, 8), np.uint32)
    expected[0, 0], expected[2, 3], expected[5, 5] = 1024 | 4096, 2049, 8192
    assert np.array_equal(arrays(again)["PIXELDQ"], expected)
    with fits.open(again) as hdus:
        names = [hdu.name for hdu in hdus]
        assert sorted(names) == ["DQ_DEF", "DQ_SOURCES", "GROUPDQ", "PIXELDQ", "PRIMARY", "SCI"]
        assert hdus[0].header["R_MASK"].endswith("two.fits")
    assert recorded(again, "one.fits")
    assert recorded(again, "two.fits")


@pytest.mark.parametrize("name", ["if_no_mask", "unknown", "dq_bits"])
def test_a_choice_that_does_not_exist_is_not_taken_for_another(name: str) -> None:
    options: Any = {name: "eror"}
    with pytest.raises(ConfigError, match=f"{name} is 'eror'; expected one of (error|all), "):
        apply_dq("ramp.fits", **options)


def test_no_mask_on_request(run: Run, folder: Path) -> None:
    hdus = ramp_hdus(pixeldq=np.ones((6, 8), np.int16), extra=other_extensions())
    ramp = write_hdus(folder / "ramp.fits", hdus)
    output = run(ramp, mask="N/A")
    assert header(output)["S_DQINIT"] == "SKIPPED"
    assert header(output)["R_MASK"] == "N/A"
    with fits.open(output) as found:
        assert [hdu.name for hdu in found][len(hdus) :] == ["DQ_SOURCES"]
    for index in range(1, len(hdus)):
        assert unit_bytes(output, index) == unit_bytes(ramp, index)


def user_file(path: Path, array: Any, name: str | None = None, **cards: Any) -> Path:
    if name is None:
        hdus = fits.HDUList([fits.PrimaryHDU(array)])
    else:
        hdus = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(array, name=name)])
    for key, value in cards.items():
        hdus[0].header[key] = value
    return write_hdus(path, hdus)


@pytest.mark.parametrize(
    ("dtype", "name"), [("u1", None), ("u8", "DQ"), ("f4", "PIXELDQ"), ("i2", "WHATEVER")]
)
def test_user_flags(run: Run, folder: Path, dtype: str, name: str | None) -> None:
    flags = np.zeros((6, 8), dtype)
    flags[1, 1], flags[2, 3] = 16, 101
    user = user_file(folder / "user.fits", flags, name)
    output = run(make_ramp(folder / "r.fits"), mask=make_mask(folder / "m.fits"), user_dq=user)
    expected = np.zeros((6, 8), np.uint32)
    expected[0, 0], expected[1, 1], expected[2, 3] = 1024, 16, 2049 | 101
    assert np.array_equal(arrays(output)["PIXELDQ"], expected)
    digest = hashlib.sha256(user.read_bytes()).hexdigest()
    assert recorded(output, digest)


def test_user_flags_of_other_parts_of_the_detector(run: Run, folder: Path) -> None:
    flags = np.arange(200, dtype=np.uint32).reshape(10, 20)
    user = user_file(folder / "user.fits", flags, "DQ", SUBSTRT1=5, SUBSTRT2=3)
    ramp = make_ramp(folder / "ramp.fits", start=(7, 4))
    zero = make_mask(folder / "mask.fits", np.zeros((30, 30), np.uint32))
    output = run(ramp, mask=zero, user_dq=user)
    assert np.array_equal(arrays(output)["PIXELDQ"], flags[1:7, 2:10])
    flags = np.zeros((4096, 4096), np.uint8)
    flags[100, 200], flags[99, 200], flags[105, 207] = 2, 4, 8
    user = user_file(folder / "user.fits", flags)
    ramp = make_ramp(folder / "ramp.fits", start=(201, 101))
    expected = np.zeros((6, 8), np.uint32)
    expected[0, 0], expected[5, 7] = 2, 8
    output = run(ramp, folder / "frame.fits", mask="N/A", user_dq=user)
    assert np.array_equal(arrays(output)["PIXELDQ"], expected)


def test_user_flags_without_a_mask(run: Run, folder: Path) -> None:
    flags = np.ones((6, 8), np.int16)
    user = user_file(folder / "user.fits", flags)
    ramp = make_ramp(folder / "ramp.fits")
    output = run(ramp, mask="N/A", user_dq=user, propagate_do_not_use=True)
    found = arrays(output)
    assert header(output)["S_DQINIT"] == "COMPLETE"
    assert header(output)["R_MASK"] == "N/A"
    assert (found["PIXELDQ"] == 1).all()
    # It is the mask's DO_NOT_USE that is set in the groups, and there is no mask.
    assert not found["GROUPDQ"].any()
    assert not recorded(output, "DO_NOT_USE in groups")


def test_bits_that_are_dropped_are_recorded(run: Run, folder: Path) -> None:
    dq = np.array([[0, 1, 2, 3, 4, 7, 8, 8]] * 6, np.uint32)
    mask = make_mask(folder / "mask.fits", dq, rows=[(0, 1, "HOT"), (1, 2, "MY_FLAG")])
    output = run(make_ramp(folder / "ramp.fits"), mask=mask, unknown="drop")
    assert arrays(output)["PIXELDQ"][0].tolist() == [0, 2048, 0, 2048, 0, 2048, 0, 0]
    for bit, count in ((1, 18), (2, 12), (3, 12)):
        assert recorded(output, f"bit {bit} of {count} pixels left out")


@pytest.mark.contract
def test_sample_ramp_has_no_place(shared: Path, folder: Path) -> None:
    outcome = invoke(
        "apply", shared / "iris_readout_sample_ramp.fits", "-o", folder / "out.fits", code=5
    )
    for part in ("SUBSTRT1", "SUBSTRT2", "SUBSIZE1", "SUBSIZE2", "10 × 10", "--subarray X,Y"):
        assert part in outcome.err
    assert list(folder.iterdir()) == []


@pytest.mark.contract
@pytest.mark.parametrize("start", [(1, 1), (4087, 4087), (5, 5), (2000, 4087)])
def test_sample_ramp(run: Run, shared: Path, folder: Path, start: tuple[int, int]) -> None:
    """The baseline mask has four rows and columns of reference pixels on each side."""
    sample = shared / "iris_readout_sample_ramp.fits"
    output = run(sample, subarray=start)
    frame = np.full((4096, 4096), 2147483648, np.uint32)
    frame[4:4092, 4:4092] = 0
    existing = arrays(sample)["PIXELDQ"]
    expected = specified_pixeldq(frame, (1, 1), start, (10, 10), existing)
    assert np.array_equal(arrays(output)["PIXELDQ"], expected)
    assert np.array_equal(arrays(output)["GROUPDQ"], arrays(sample)["GROUPDQ"])
    for name in ("SCI", "ERR"):
        assert unit_bytes(output, name) == unit_bytes(sample, name)
    assert header(output)["S_DQINIT"] == "COMPLETE"


def test_the_output_says_where_it_lies(folder: Path) -> None:
    """What the caller had to say of the input need not be said of the output."""
    ramp = make_ramp(folder / "ramp.fits", start=(100, 200))
    with fits.open(ramp, mode="update") as hdus:
        del hdus[0].header["SUBSTRT1"], hdus[0].header["SUBSIZE2"]
    apply_dq(ramp, folder / "out.fits", subarray=(100, 200))
    said = header(folder / "out.fits")
    assert [said[f"SUB{key}"] for key in ("STRT1", "STRT2", "SIZE1", "SIZE2")] == [100, 200, 8, 6]
    assert invoke("inspect", folder / "out.fits").code == 0
    assert invoke("explain", folder / "out.fits", "--pixel", "100,200").code == 0
    frame = simulate_ramp(folder / "frame.fits", ngroups=1)  # a full frame needs no place
    with fits.open(frame, mode="update") as hdus:
        for key in ("SUBSTRT1", "SUBSTRT2", "SUBSIZE1", "SUBSIZE2"):
            del hdus[0].header[key]
    output = Path(apply_dq(frame).output)
    assert not any(key.startswith("SUBSTRT") for key in header(output))


def without_date(path: Path) -> bytes:
    content = path.read_bytes()
    # DATE changes, and so does the CHECKSUM of the header that it is in (and only that).
    content = re.sub(rb"DATE    = '[^']*'", b"DATE    = '?'", content, count=1)
    return re.sub(
        rb"CHECKSUM= '[^']*'(.{47})", rb"CHECKSUM= '?'", content, count=1, flags=re.DOTALL
    )


def values(path: Path, index: int) -> set[tuple[str, str]]:
    own = ("CHECKSUM", "DATASUM", "DATE", "")
    return {(k, str(v)) for k, v in header(path, index).items() if k not in own}


@pytest.mark.parametrize("checksum", [False, True])
@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "u4", "f4", "f8"])
def test_compressed_input_gives_the_same_bytes(folder: Path, dtype: str, checksum: bool) -> None:
    rng = np.random.default_rng(9)
    sci = rng.integers(0, 100, (2, 3, 6, 8)).astype(dtype)
    if dtype.startswith("f"):
        sci += rng.normal(size=sci.shape).astype(dtype)
    mask = make_mask(folder / "mask.fits")
    plain = make_ramp(
        folder / "ramp.fits",
        sci=sci,
        sci_header={"BUNIT": "DN", "HISTORY": "as read"},
        pixeldq=rng.integers(0, 9, (6, 8)).astype(np.int32),
        extra=other_extensions(),
        checksum=checksum,
    )
    inputs = [
        plain,
        compress_gzip(plain, folder / "ramp.fits.gz"),
        compress_tiles(plain, folder / "ramp.fits.fz", ["SCI"]),
        compress_tiles(plain, folder / "more.fits.fz", ["SCI", "PIXELDQ"]),
    ]
    inputs.append(compress_gzip(inputs[2], folder / "ramp.fits.fz.gz"))
    outputs = []
    for number, source in enumerate(inputs):
        (folder / str(number)).mkdir()
        output = folder / str(number) / "out.fits"
        apply_dq(source, output, mask=mask)
        outputs.append(output)
        verify_checksums(output)
    assert without_date(outputs[1]) == without_date(outputs[0])
    with fits.open(outputs[0]) as reference:
        names = [(hdu.name, hdu.ver) for hdu in reference]
    tiled = ({"SCI"}, {"SCI", "PIXELDQ"}, {"SCI"})
    for output, compressed in zip(outputs[2:], tiled, strict=True):
        with fits.open(output) as found:
            assert [(hdu.name, hdu.ver) for hdu in found] == names
        for index, (name, _) in enumerate(names):
            assert data_unit(output, index) == data_unit(outputs[0], index), name
            if name not in compressed | {"PRIMARY"}:
                assert unit_bytes(output, index) == unit_bytes(outputs[0], index), name
            # A compressed image's header is rebuilt: order and comments may differ, no value may.
            assert values(output, index) == values(outputs[0], index), name
    assert all(list((folder / str(n)).iterdir()) == [outputs[n]] for n in range(5))


def test_lossily_compressed_floats_are_those_that_astropy_reads(folder: Path) -> None:
    sci = np.random.default_rng(10).normal(1000, 10, (1, 2, 6, 64)).astype(np.float32)
    hdus = ramp_hdus(sci=sci)
    compressed = fits.CompImageHDU(
        sci, hdus[1].header, compression_type="RICE_1", tile_shape=(1, 1, 1, 64), quantize_level=4
    )
    ramp = write_hdus(folder / "ramp.fits", fits.HDUList([hdus[0], compressed]))
    mask = make_mask(folder / "mask.fits", np.zeros((6, 64), np.uint32))
    apply_dq(ramp, folder / "out.fits", mask=mask)
    assert np.array_equal(arrays(folder / "out.fits")["SCI"], arrays(ramp)["SCI"])


def test_what_the_function_returns(folder: Path) -> None:
    existing = np.zeros((6, 8), np.uint32)
    existing[5, 7] = 4
    ramp = make_ramp(folder / "ramp.fits", (2, 3, 6, 8), pixeldq=existing)
    mask = make_mask(folder / "mask.fits")
    user = user_file(folder / "user.fits", np.eye(6, 8, dtype=np.uint8))
    steps: list[int] = []
    applied = apply_dq(
        ramp, folder / "out.fits", mask=mask, user_dq=user, progress=steps.append, sync=False
    )
    assert isinstance(applied, Applied)
    assert (applied.input, applied.output) == (ramp, folder / "out.fits")
    assert (applied.status, applied.mask) == ("COMPLETE", str(mask))
    assert applied.mask_path == mask
    assert applied.selection is None
    assert applied.shape == (2, 3, 6, 8)
    assert applied.counts == {"GOOD": 40, "DO_NOT_USE": 7, "JUMP_DET": 1, "DEAD": 1, "HOT": 1}
    assert [(source.flagged, dict(source.counts)) for source in applied.sources] == [
        (2, {"DO_NOT_USE": 1, "DEAD": 1, "HOT": 1}),
        (6, {"DO_NOT_USE": 6}),
    ]
    assert dict(applied.left_out) == {}
    assert sum(steps) >= ramp.stat().st_size


def test_a_mask_that_is_read_already(folder: Path) -> None:
    ramp, path = make_ramp(folder / "ramp.fits"), make_mask(folder / "mask.fits")
    mask = read_mask(path)
    before = mask.dq.copy()
    applied = apply_dq(ramp, folder / "out.fits", mask=mask)
    assert applied.mask_path == path
    assert header(folder / "out.fits")["R_MASK"] == str(path)
    assert np.array_equal(mask.dq, before)
    assert not mask.dq.flags.writeable


@pytest.mark.parametrize(
    ("name", "output"),
    [
        ("iris_0001_uncal.fits", "iris_0001_dqinit.fits"),
        ("iris_0001.fits", "iris_0001_dqinit.fits"),
        ("iris_0001_uncal.fits.gz", "iris_0001_dqinit.fits"),
        ("iris_0001_uncal.fits.fz", "iris_0001_dqinit.fits"),
        ("IRIS.FITS", "IRIS_dqinit.fits"),
        ("a.b.fit", "a.b_dqinit.fits"),
        ("a_uncal_b.fts", "a_uncal_b_dqinit.fits"),
        ("no_ending", "no_ending_dqinit.fits"),
    ],
)
def test_default_names(name: str, output: str) -> None:
    assert default_output(Path("night") / name) == Path("night") / output
    assert default_output(Path("night") / name, Path("red")) == Path("red") / output


def test_default_output_beside_the_input(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mask = make_mask(folder / "mask.fits")
    ramp = make_ramp(folder / "a_uncal.fits")
    assert apply_dq(ramp, mask=mask).output == folder / "a_dqinit.fits"
    (folder / "red").mkdir()
    output = apply_dq(ramp, output_dir=folder / "red", mask=mask).output
    assert output == folder / "red" / "a_dqinit.fits"
    assert output.exists()
    monkeypatch.chdir(folder)
    apply_dq("a_uncal.fits", mask="mask.fits", overwrite=True)
    assert header(folder / "a_dqinit.fits")["R_MASK"] == str(mask)


def test_input_that_shrinks_meanwhile(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "_STEP", 16_384)
    ramp = make_ramp(folder / "ramp.fits", sci=np.ones((1, 10, 64, 64), np.uint16))
    mask = make_mask(folder / "mask.fits", np.zeros((64, 64), np.uint32))

    def shrink(count: int) -> None:
        os.truncate(ramp, 10_000)

    with pytest.raises(RampFormatError, match=r"ramp\.fits: (ended \d+ bytes early|changed while)"):
        apply_dq(ramp, folder / "out.fits", mask=mask, progress=shrink)
    assert sorted(path.name for path in folder.iterdir()) == ["mask.fits", "ramp.fits"]


@pytest.mark.parametrize("form", ["plain", "gzip", "tiles"])
def test_input_that_is_written_to_meanwhile(
    folder: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    ramp, mask = make_ramp(folder / "ramp.fits"), make_mask(folder / "mask.fits")
    if form != "plain":
        pack = compress_gzip if form == "gzip" else compress_tiles
        ramp = pack(ramp, folder / "packed.fits")
    before = sorted(path.name for path in folder.iterdir())
    real = units.UnitWriter.write_planes

    def meanwhile(*where: Any) -> None:
        real(*where)
        with ramp.open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"x")
        # The clock of a file system may go in steps of some milliseconds.
        os.utime(ramp, ns=(0, ramp.stat().st_mtime_ns + 1))

    monkeypatch.setattr(units.UnitWriter, "write_planes", meanwhile)
    with pytest.raises(RampFormatError, match="changed while it was being read"):
        apply_dq(ramp, folder / "out.fits", mask=mask)
    assert sorted(path.name for path in folder.iterdir()) == before


def test_input_that_vanishes_meanwhile_is_still_read(folder: Path) -> None:
    ramp, mask = make_ramp(folder / "ramp.fits"), make_mask(folder / "mask.fits")
    science = data_unit(ramp, "SCI")
    apply_dq(ramp, folder / "o.fits", mask=mask, progress=lambda _: ramp.unlink(missing_ok=True))
    assert data_unit(folder / "o.fits", "SCI") == science


def test_ramp_whose_bits_mean_something_else(folder: Path) -> None:
    ramp = make_ramp(folder / "ramp.fits", extra=[dq_def([(0, 1, "HOT")])])
    before = folder_state(folder)
    mask = make_mask(folder.parent / "mask.fits")
    with pytest.raises(RampFormatError, match="another meaning"):
        apply_dq(ramp, folder / "out.fits", mask=mask)
    assert folder_state(folder) == before
