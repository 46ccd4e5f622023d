"""The mask model: what a user types works; no flag is lost, invented or given another meaning."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from stdatamodels.jwst.datamodels import dqflags as jwst_flags

from tmt_dq.core.geometry import Window
from tmt_dq.datamodels import TMTMaskModel
from tmt_dq.errors import ConfigError, GeometryError, MaskFormatError, UnknownFlagError

DEFINITIONS = [
    (0, 1, "DO_NOT_USE", ""),
    (1, 2, "DEAD", ""),
    (2, 4, "HOT", ""),
    (3, 8, "UNRELIABLE_SLOPE", ""),
    (4, 16, "RC", ""),
    (5, 32, "REFERENCE_PIXEL", ""),
]
GOLDEN = {
    0: 0,
    1: 1,
    2: 1024,
    4: 2048,
    8: 16777216,
    16: 16384,
    3: 1025,
    5: 2049,
    9: 16777217,
    17: 16385,
    32: 2147483648,
}


def table(rows: Any = None, value: Any = "u4") -> Any:
    return np.array(
        DEFINITIONS if rows is None else rows,
        dtype=[("BIT", "i4"), ("VALUE", value), ("NAME", "S40"), ("DESCRIPTION", "S80")],
    )


def plain_mask(path: Any, dq: Any, definitions: Any = None, **keywords: Any) -> Path:
    """Write a mask file as someone does who does not have this package."""
    primary = fits.PrimaryHDU()
    primary.header.update(keywords)
    units = [primary, fits.ImageHDU(dq, name="DQ")]
    if definitions is not None:
        units.append(fits.BinTableHDU(definitions, name="DQ_DEF"))
    fits.HDUList(units).writeto(path)
    return Path(path)


@pytest.mark.contract
@pytest.mark.large
def test_the_documentations_way_of_making_a_mask(tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    rng = np.random.default_rng(4)
    places = rng.choice(4096 * 4096, 20, replace=False)
    pairs = np.stack(np.divmod(places, 4096), axis=1)

    f = TMTMaskModel()
    f.meta.name = "IRIS"
    f.meta.detector = "IRIS1"
    f.dq = np.zeros((4096, 4096))
    f.flag_pixels("DEAD", yx=pairs[:10])
    f.dq[tuple(pairs[10:].T)] = 2048
    counts, edges = np.histogram(f.dq, bins=3)
    assert counts.tolist() == [16777196, 10, 10]
    assert edges == pytest.approx([0.0, 682.66666667, 1365.33333333, 2048.0])
    f.write(Path.home() / "crds_cache/references/tmt/iris/tmt_iris_mask_0001.fits")

    written = tmp_path / "crds_cache/references/tmt/iris/tmt_iris_mask_0001.fits"
    with fits.open(written) as file:
        assert (file[0].header["INSTRUME"], file[0].header["DETECTOR"]) == ("IRIS", "IRIS1")
        assert file["DQ"].data.dtype == np.uint32
        assert np.array_equal(np.flatnonzero(file["DQ"].data), np.sort(places))


@pytest.mark.parametrize("dtype", [np.uint32, ">u4", np.int64, np.float32, None])
def test_whole_numbers_of_any_type_are_flags(dtype: Any) -> None:
    mask = TMTMaskModel()
    mask.dq = [[0, 1024]] if dtype is None else np.array([[0, 1024]], dtype)
    assert mask.dq.dtype == np.uint32
    assert mask.dq.tolist() == [[0, 1024]]
    mask.dq[0, 0] = 2**32 - 1
    assert mask.dq[0, 0] == 2**32 - 1


@pytest.mark.parametrize("bad", [-1, 0.5, np.nan, np.inf, 2.0**32, 2**33])
def test_what_is_no_flag_is_refused_and_changes_nothing(bad: Any) -> None:
    mask = TMTMaskModel((2, 2))
    with pytest.raises(MaskFormatError, match="1 values are no flags"):
        mask.dq = np.array([[0, bad]])
    assert mask.dq.tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize("shape", [(4,), (1, 4, 4), ()])
def test_only_two_dimensions_are_a_mask(shape: Any) -> None:
    with pytest.raises(GeometryError, match=r"expected \(ny, nx\)"):
        TMTMaskModel().dq = np.zeros(shape)


@pytest.mark.parametrize("order", ["C", "F"])
def test_what_is_saved_is_what_is_read(tmp_path: Any, order: Any) -> None:
    flags = np.asarray(np.arange(12).reshape(3, 4) * 2**28 % 2**32, order=order)
    mask = TMTMaskModel(dq=flags)
    mask.meta.instrument.name = "IRIS"
    mask.meta.instrument.detector = "IRIS3"
    mask.meta.useafter = "2030-01-01T00:00:00"
    mask.meta.description = "a mask with a long description. " * 5 + "End"
    mask.meta.local = {"list": [1, 2.5, "x"], "yes": True}
    mask.add_history_entry("made by hand")
    for name in ("mask.fits", "mask.asdf"):
        mask.save(tmp_path / name)
        read = TMTMaskModel(tmp_path / name)
        assert np.array_equal(read.dq, flags)
        assert read.dq.dtype == np.uint32
        assert read.dq.flags.writeable
        assert read.meta.useafter == "2030-01-01T00:00:00"
        assert read.meta.description == mask.meta.description
        assert read.meta.local.instance == {"list": [1, 2.5, "x"], "yes": True}
        assert read.meta.filename == name
        assert read.meta.model_type == "TMTMaskModel"
        entries = read._asdf.get_history_entries()
        assert [entry["description"] for entry in entries] == ["made by hand"]
        read.close()


@settings(
    deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@example(np.zeros((1, 1), np.uint32), "'/")
@example(np.zeros((1, 1), np.uint32), "a''/b / c'/" * 8)
@given(
    arrays(np.uint32, st.tuples(st.integers(1, 5), st.integers(1, 5))),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=90),
)
def test_any_flags_come_back(tmp_path: Any, dq: Any, text: Any) -> None:
    mask = TMTMaskModel(dq=dq)
    mask.meta.author = text
    mask.save(tmp_path / "mask.fits")
    with TMTMaskModel(tmp_path / "mask.fits") as read:
        assert np.array_equal(read.dq, dq)
        assert read.meta.author == text


def test_a_file_that_anyone_wrote_opens(tmp_path: Any) -> None:
    path = plain_mask(
        tmp_path / "mask.fits",
        np.array([[0, 2**31]], np.uint32),
        INSTRUME="IRIS",
        DETECTOR="IFU",
        OWN="kept",
    )
    with TMTMaskModel(path) as mask:
        assert mask.dq.tolist() == [[0, 2**31]]
        assert mask.meta.detector == "IFU"
        assert mask.dq_def is None
        mask.save(tmp_path / "again.fits")
    assert fits.getval(tmp_path / "again.fits", "OWN") == "kept"


@pytest.mark.contract
@pytest.mark.parametrize("how", ["u4", "i8", "arrays", "HDUList", "dict", "ASDF", "jwst"])
def test_the_golden_translations_by_every_way_in(tmp_path: Any, how: Any) -> None:
    stored = np.array([list(GOLDEN)], np.uint32)
    if how in {"u4", "i8"}:
        mask = TMTMaskModel(plain_mask(tmp_path / "mask.fits", stored, table(value=how)))
    elif how == "arrays":
        mask = TMTMaskModel(dq=stored, dq_def=table())
    elif how == "HDUList":
        path = plain_mask(tmp_path / "mask.fits", stored, table())
        with fits.open(path) as file:
            mask = TMTMaskModel(file)
            assert file["DQ"].data.tolist() == stored.tolist()
    elif how == "dict":
        mask = TMTMaskModel({"dq": stored, "dq_def": table(), "meta": {}})
    elif how == "ASDF":
        import asdf

        asdf.AsdfFile({"dq": stored, "dq_def": table(), "meta": {}}).write_to(tmp_path / "m.asdf")
        mask = TMTMaskModel(tmp_path / "m.asdf")
    else:
        from stdatamodels.jwst.datamodels import MaskModel

        peer = MaskModel(dq=stored.copy(), dq_def=table())
        assert peer.dq.tolist() == [list(GOLDEN.values())]
        # The model itself is in the convention, whatever its definitions say.
        assert TMTMaskModel(peer).dq.tolist() == [list(GOLDEN.values())]
        peer.meta.description = peer.meta.reftype = peer.meta.author = "MASK"
        peer.meta.pedigree, peer.meta.useafter = "DUMMY", "2020-01-01"
        peer.meta.instrument.name = "NIRCAM"
        peer.save(tmp_path / "jwst.fits")
        assert fits.getdata(tmp_path / "jwst.fits", "DQ").max() == 32
        mask = TMTMaskModel(tmp_path / "jwst.fits")
    assert mask.dq.tolist() == [list(GOLDEN.values())]
    assert stored.tolist() == [list(GOLDEN)]
    if how != "arrays":  # which get their table when they are saved
        names = dict(zip(mask.dq_def["NAME"], mask.dq_def["VALUE"], strict=True))
        assert {_text(name): int(value) for name, value in names.items()} == _convention()
    mask.save(tmp_path / "ours.fits")
    with fits.open(tmp_path / "ours.fits") as file:
        assert file["DQ"].data.tolist() == [list(GOLDEN.values())]
        rows = file["DQ_DEF"].data
        assert dict(zip(rows["NAME"], rows["VALUE"].tolist(), strict=True)) == _convention()
        assert (1 << rows["BIT"].astype(np.int64)).tolist() == rows["VALUE"].tolist()
    mask.close()


def _convention() -> dict[str, int]:
    """Return the peer's table."""
    return {name: value for name, value in jwst_flags.pixel.items() if value}


def _text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


@pytest.mark.parametrize(
    ("rows", "dq", "kind", "message"),
    [
        ([(0, 1, "BADNESS", "")], 1, UnknownFlagError, "BADNESS"),
        (DEFINITIONS, 64, UnknownFlagError, r"bit 6 \(value 64\) in 1 pixels"),
        ([(0, 1, "DEAD", ""), (1, 2, "DEAD", "")], 1, MaskFormatError, r"row 2 \(DEAD\)"),
        ([(0, 3, "DEAD", "")], 1, MaskFormatError, "VALUE 3 is not one bit"),
        ([(2, 1, "DEAD", "")], 1, MaskFormatError, "BIT 2 and VALUE 1 disagree"),
    ],
)
def test_definitions_that_would_lose_flags_are_refused(
    tmp_path: Any, rows: Any, dq: Any, kind: Any, message: Any
) -> None:
    path = plain_mask(tmp_path / "mask.fits", np.array([[0, dq]], np.uint32), table(rows))
    with pytest.raises(kind, match=message) as caught:
        TMTMaskModel(path)
    assert str(path) in str(caught.value)


def test_two_tables_of_definitions_are_refused(tmp_path: Path) -> None:
    path = plain_mask(tmp_path / "mask.fits", np.array([[0, 1]], np.uint32), table())
    with fits.open(path, mode="append") as hdus:
        hdus.append(fits.BinTableHDU(table([(0, 1, "HOT", "")]), name="DQ_DEF"))
    with pytest.raises(MaskFormatError, match="2 tables DQ_DEF; expected one"):
        TMTMaskModel(path)


def test_definitions_alone_cannot_change_the_meaning_of_flags() -> None:
    mask = TMTMaskModel((2, 2))
    with pytest.raises(MaskFormatError, match="another meaning") as caught:
        mask.dq_def = table()
    assert "TMTMaskModel(dq=flags, dq_def=table)" in str(caught.value.hint)
    mask.dq_def = table([(10, 1024, "DEAD", "")])
    assert len(mask.dq_def) == 32
    for init in (None, (2, 2)):
        with pytest.raises(ConfigError, match="none were given with it"):
            TMTMaskModel(init, dq_def=table())


def test_saving_fills_in_what_is_known_and_keeps_what_is_said(tmp_path: Any) -> None:
    mask = TMTMaskModel((3, 4))
    mask.meta.instrument.name = "IRIS"
    mask.save(tmp_path / "mask.fits")
    header = fits.getheader(tmp_path / "mask.fits")
    expected = {
        "TELESCOP": "TMT",
        "REFTYPE": "MASK",
        "SUBARRAY": "GENERIC",
        "SUBSTRT1": 1,
        "SUBSTRT2": 1,
        "SUBSIZE1": 4,
        "SUBSIZE2": 3,
        "FILENAME": "mask.fits",
        "DATAMODL": "TMTMaskModel",
    }
    assert {key: header[key] for key in expected} == expected
    assert not {"USEAFTER", "PEDIGREE", "AUTHOR", "DESCRIP", "DETECTOR"} & set(header)
    mask = TMTMaskModel((3, 4))
    mask.meta.telescope = "Keck"
    mask.meta.reftype = "mask"
    mask.meta.subarray.name = "CUSTOM"
    mask.meta.subarray.xstart = 7
    mask.meta.subarray.ysize = 3
    mask.save(tmp_path / "mask.fits")
    header = fits.getheader(tmp_path / "mask.fits")
    keys = ("TELESCOP", "REFTYPE", "SUBARRAY", "SUBSTRT1", "SUBSTRT2", "SUBSIZE1", "SUBSIZE2")
    assert [header[key] for key in keys] == ["Keck", "mask", "CUSTOM", 7, 1, 4, 3]
    with TMTMaskModel(tmp_path / "mask.fits") as read:
        assert read.window == Window(y=0, x=6, ny=3, nx=4)


@pytest.mark.parametrize(
    ("attr", "value", "message"),
    [
        ("xsize", 3, r"xsize is 3, but dq is 4 × 3"),
        ("ysize", 4, r"ysize is 4, but dq is 4 × 3"),
        ("xstart", 0, "x = 0, y = 1; they count from 1"),
        ("ystart", -4, "x = 1, y = -4"),
    ],
)
def test_a_place_that_contradicts_the_array_is_not_written(
    tmp_path: Any, attr: Any, value: Any, message: Any
) -> None:
    mask = TMTMaskModel((3, 4))
    setattr(mask.meta.subarray, attr, value)
    with pytest.raises(GeometryError, match=message):
        mask.save(tmp_path / "mask.fits")
    assert list(tmp_path.iterdir()) == []


def test_a_mask_without_flags_is_not_written(tmp_path: Any) -> None:
    with pytest.raises(MaskFormatError, match="no flags to save"):
        TMTMaskModel().save(tmp_path / "mask.fits")
    with pytest.raises(GeometryError, match="no flags, and so no size"):
        _ = TMTMaskModel().window


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ([], "no image extensions DQ; expected one, found PRIMARY"),
        ([np.zeros((2, 2))] * 2, "has 2 image extensions DQ"),
        ([np.zeros((1, 2, 2))], r"shape \(1, 2, 2\)"),
        ([None], r"shape \(\)"),
        ([np.full((2, 2), 0.5)], "4 values are no flags"),
        ([np.full((2, 2), 2**33)], "4 values are no flags"),
    ],
)
def test_a_file_that_is_no_mask_is_refused(tmp_path: Any, arrays: Any, message: Any) -> None:
    path = tmp_path / "mask.fits"
    units = [fits.ImageHDU(array, name="DQ") for array in arrays]
    fits.HDUList([fits.PrimaryHDU(), *units]).writeto(path)
    with pytest.raises(MaskFormatError, match=message) as caught:
        TMTMaskModel(path)
    assert str(path) in str(caught.value)
