"""Files of other pipelines: their layouts are data of the instruments' descriptions."""

import hashlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import asdf
import numpy as np
import numpy.typing as npt
import pytest
from astropy.io import fits

from builders import CONVENTION, arrays, data_unit, invoke, make_mask, unit_bytes, write_hdus
from reference_helpers import write_rules
from tmt_dq import DQInitStep, apply_dq, explain, find_bad_pixels, select_mask, summarize
from tmt_dq.core.recipe import GuideWindow
from tmt_dq.errors import AlreadyInitializedError, GeometryError, RampFormatError, TmtDqError
from tmt_dq.exposures import planes
from tmt_dq.watch import completeness

DO_NOT_USE, OPEN = CONVENTION["DO_NOT_USE"], CONVENTION["OPEN"]
SHAPE = (2, 3, 6, 8)  # integrations, groups, ny, nx

CAMERA = """
name = "Camera"
telescope = "TMT"
observatory = "tmt"
reftype = "mask"
[keywords]
"META.INSTRUMENT.NAME" = "INSTRUME"
[detectors.ONE]
aliases = []
shape = [64, 64]
reference_border = 0
[layouts.other_pipeline]
datamodl = "Cube"
data = "COUNTS"
flags = "QUALITY"
axes = ["group", "y", "integration", "x"]
"""


class Form(NamedTuple):
    """How a pipeline writes a ramp: names, the axes of ours in its order, the type of flags."""

    name: str
    data: str
    flags: str
    order: tuple[int, ...]
    dtype: type
    header: dict[str, Any]


LIGER = Form(
    *("liger_iris_pipeline", "DATA", "DQ", (2, 3, 0, 1), np.uint16),
    header={
        "INSTRUME": "IRIS",
        "DETECTOR": "IMG1",
        "DATAMODL": "RampModel",
        "TELESCOP": "TMT",
        "EXPDTST": "20260501101112",
        "FASTAXIS": 0,
        "SLOWAXIS": 1,
        "SUBARRAY": "FULL",
        "SUBSTRT1": 1,
        "SUBSTRT2": 1,
        "SUBSIZE1": 8,
        "SUBSIZE2": 6,
    },
)
OTHER = Form(
    *("other_pipeline", "COUNTS", "QUALITY", (1, 2, 0, 3), np.uint32),
    header={
        "INSTRUME": "CAMERA",
        "DETECTOR": "ONE",
        "DATAMODL": "Cube",
        "SUBSTRT1": 1,
        "SUBSTRT2": 1,
    },
)


@pytest.fixture(autouse=True)
def _described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "instruments").mkdir()
    (tmp_path / "instruments/camera.toml").write_text(CAMERA)
    monkeypatch.setenv("TMT_DQ_INSTRUMENTS", str(tmp_path / "instruments"))


def _hdus(form: Form, flags: npt.NDArray[Any] | None = None, **header: object) -> Any:
    """Return a file of a pipeline, with flags of each sample in our order of the axes."""
    primary = fits.PrimaryHDU()
    primary.header.update({**form.header, **{key.replace("_", "-"): header[key] for key in header}})
    counts = np.arange(np.prod(SHAPE), dtype=np.uint16).reshape(SHAPE)
    flags = np.zeros(SHAPE, form.dtype) if flags is None else flags.astype(form.dtype)
    return fits.HDUList(
        [
            primary,
            fits.ImageHDU(np.arange(6.0).reshape(2, 3), name="TIMES"),
            fits.ImageHDU(np.ascontiguousarray(counts.transpose(form.order)), name=form.data),
            fits.ImageHDU(np.ascontiguousarray(flags.transpose(form.order)), name=form.flags),
            fits.ImageHDU(np.ones((2, 2), np.float32), name="ADDED"),
        ]
    )


def _mask(folder: Path, form: Form = LIGER, **header: object) -> Path:
    """Write a mask with a flag beyond 16 bits, OPEN at x = 3, y = 2."""
    dq = np.zeros((6, 8), np.uint32)
    dq[0, 0] = CONVENTION["TELEGRAPH"]
    dq[1, 2] = OPEN | DO_NOT_USE
    dq[5, 7] = CONVENTION["HOT"] | DO_NOT_USE
    own = {"INSTRUME": form.header["INSTRUME"], "DETECTOR": form.header["DETECTOR"]}
    return make_mask(folder / "mask.fits", dq, header={**own, **header})


def _samples(path: Path, form: Form) -> npt.NDArray[Any]:
    """Return the flags of each sample in our order of the axes."""
    return arrays(path)[form.flags].transpose(np.argsort(form.order))


@pytest.mark.parametrize("piece", [8 << 20, 40, 1])
@pytest.mark.parametrize("form", [LIGER, OTHER], ids=lambda form: form.name)
def test_the_flags_of_samples_and_pixels(
    folder: Path, monkeypatch: pytest.MonkeyPatch, form: Form, piece: int
) -> None:
    """Each sample has the mask's flags and its own, pixels all 32 bits, all else is unchanged."""
    monkeypatch.setattr(planes, "_PIECE_BYTES", piece)
    before = np.random.default_rng(1).integers(0, 256, SHAPE)
    raw = write_hdus(folder / "ramp.fits", _hdus(form, before), checksum=form is OTHER)
    applied = apply_dq(raw, mask=_mask(folder, form), dq_bits="low16")
    out = folder / "ramp_dqinit.fits"
    flags = fits.getdata(folder / "mask.fits", "DQ")
    kept = np.iinfo(form.dtype).max
    np.testing.assert_array_equal(_samples(out, form), before | (flags & kept))
    np.testing.assert_array_equal(arrays(out)["PIXELDQ"], flags)
    assert applied.shape == SHAPE
    assert applied.counts["OPEN"] == 1
    assert data_unit(out, form.data) == data_unit(raw, form.data)
    for name in ("TIMES", "ADDED"):
        assert unit_bytes(out, name) == unit_bytes(raw, name)
    assert unit_bytes(out, form.flags)[:560] == unit_bytes(raw, form.flags)[:560]
    with fits.open(out, checksum=True) as hdus:  # a wrong sum would be a warning, and an error
        assert hdus[0].header["S_DQINIT"] == "COMPLETE"
        assert not {"GROUPDQ", "SCI"} & {hdu.name for hdu in hdus}
        history = "".join("".join(hdus[0].header["HISTORY"]).split())
        rows = {str(row["KIND"]): str(row["PARAMETERS"]) for row in hdus["DQ_SOURCES"].data}
    assert '"groups": true' in rows["flags before"]
    lost = f"not in {form.flags}, which has 16 bits: 1 OPEN"
    assert (lost in rows["mask"]) == (lost.replace(" ", "") in history) == (form is LIGER)


def _by_step(ramp: Path, **options: Any) -> None:
    DQInitStep.call(
        str(ramp),
        override_mask=str(options.pop("mask")),
        save_results=True,
        output_dir=str(ramp.parent),
        configure_log=False,
        **options,
    )


def _by_command(ramp: Path, **options: Any) -> None:
    words = [word for key in options for word in (f"--{key.replace('_', '-')}", options[key])]
    for verb in (["apply", ramp], ["batch", ramp, "--output-dir", ramp.parent / "night"]):
        outcome = invoke(*verb, *words)
        if outcome.code:
            raise TmtDqError(outcome.err)


@pytest.mark.parametrize("face", [apply_dq, _by_step, _by_command])
def test_flags_that_do_not_fit_are_an_error_by_every_face(
    folder: Path, face: Callable[..., object]
) -> None:
    ramp, mask = write_hdus(folder / "ramp.fits", _hdus(LIGER)), _mask(folder)
    with pytest.raises(TmtDqError, match=r"DQ, have 16 bits, without room for OPEN of 1 pixels"):
        face(ramp, mask=mask)
    assert not (folder / "ramp_dqinit.fits").exists()
    face(ramp, mask=mask, dq_bits="low16")
    assert _samples(folder / "ramp_dqinit.fits", LIGER)[1, 2, 1, 2] == DO_NOT_USE


def test_flags_of_single_reads_are_in_those_of_samples(folder: Path) -> None:
    """A guide window in the second group, and a read that was not made in the third."""
    numbers = fits.BinTableHDU.from_columns([fits.Column("READ_NO", "J", array=[1, 2, 0])])
    ramp = write_hdus(folder / "ramp.fits", fits.HDUList([*_hdus(LIGER), numbers]))
    recipe = {"missing_reads": True, "guide_parts": ("box",)}
    apply_dq(
        ramp, mask="N/A", recipe={**recipe, "guide_windows": (GuideWindow.parse("5,2,3,2,2:2"),)}
    )
    found = _samples(folder / "ramp_dqinit.fits", LIGER)
    box = CONVENTION["NON_SCIENCE"] | DO_NOT_USE
    assert (found[:, :, 1:3, 4:7] == np.array([box, box, box | 8])[:, None, None]).all()
    assert (found[:, 2, 5] == CONVENTION["DROPOUT"]).all()
    assert not found[:, :2, 5].any()


def test_rules_select_by_its_date_whatever_its_orientation(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"2015-10-01 00:00:00": "old.fits", "2026-05-01 10:11:12": "new.fits"}
    cache = folder / "cache"
    references = write_rules(cache, "tmt", "IRIS", {("IRIS1", "GENERIC"): files})
    for name in files.values():
        dq = np.full((6, 8), CONVENTION["WARM"], np.uint32)
        make_mask(references / name, dq, header={"FASTAXIS": 2, "SLOWAXIS": 1})
    monkeypatch.setenv("CRDS_PATH", str(cache))
    for date, chosen in (("20260501101111", "old.fits"), ("20260501101112.5", "new.fits")):
        ramp = write_hdus(folder / "ramp.fits", _hdus(LIGER, EXPDTST=date))
        selected = select_mask(ramp).path
        assert selected is not None
        assert selected.name == chosen
        assert apply_dq(ramp, overwrite=True).mask == f"crds://{chosen}"
    ramp = write_hdus(folder / "ramp.fits", _hdus(LIGER, FASTAXIS=1, SLOWAXIS=2))
    with pytest.raises(GeometryError, match="FASTAXIS"):
        apply_dq(ramp, overwrite=True)
    ramp = write_hdus(folder / "ramp.fits", _hdus(LIGER, DATE_OBS="2016-01-01T00:00:00"))
    assert apply_dq(ramp, overwrite=True).mask == "crds://old.fits"


def _reshape(hdus: Any) -> None:
    hdus["DQ"].data = np.zeros((6, 8, 3, 2), np.uint16)


def _sign(hdus: Any) -> None:
    hdus["DQ"].data = hdus["DQ"].data.astype(np.int16)


def _flatten(hdus: Any) -> None:
    for name in ("DATA", "DQ"):
        hdus[name].data = hdus[name].data.reshape(6, 8, 6)


def _double(hdus: Any) -> None:
    hdus.append(hdus["DATA"].copy())


@pytest.mark.parametrize("change", [_reshape, _sign, _flatten, _double])
def test_what_only_looks_like_it_is_refused(folder: Path, change: Callable[[Any], None]) -> None:
    hdus = _hdus(LIGER)
    change(hdus)
    ramp = write_hdus(folder / "ramp.fits", hdus)
    with pytest.raises(RampFormatError, match=r"no SCI.*layout liger_iris_pipeline.*16 or 32"):
        apply_dq(ramp, mask="N/A")


def test_another_datamodl_or_flags_elsewhere_are_refused(folder: Path) -> None:
    ramp = write_hdus(folder / "ramp.fits", _hdus(LIGER, DATAMODL="ImagerModel"))
    with pytest.raises(RampFormatError, match=r"no SCI extension; found.*DQ, ADDED\n") as error:
        apply_dq(ramp, mask="N/A")
    assert "layout" not in str(error.value)
    more = fits.ImageHDU(np.ones(SHAPE, np.uint8), name="GROUPDQ")
    write_hdus(ramp, fits.HDUList([*_hdus(LIGER), more]))
    with pytest.raises(RampFormatError, match=r"liger_iris_pipeline.*PIXELDQ and DQ.*GROUPDQ"):
        apply_dq(ramp, mask="N/A")


def test_a_file_that_fits_two_layouts_is_refused(folder: Path) -> None:
    """Of two orders of the axes, the shapes of an array do not tell which one it has."""
    second = CAMERA[CAMERA.index("[layouts") :].replace("other_", "newer_")
    text = CAMERA + second.replace('"group", "y"', '"y", "group"')
    (Path(os.environ["TMT_DQ_INSTRUMENTS"]) / "camera.toml").write_text(text)
    ramp = write_hdus(folder / "ramp.fits", _hdus(OTHER))
    with pytest.raises(RampFormatError, match=r"layout other_pipe.*layout newer_pipe.* one layout"):
        apply_dq(ramp, mask="N/A")


def test_flags_of_its_own_pixeldq_that_do_not_fit_are_an_error_or_recorded(folder: Path) -> None:
    own = fits.ImageHDU(np.full((6, 8), CONVENTION["REFERENCE_PIXEL"], np.uint32), name="PIXELDQ")
    ramp = write_hdus(folder / "ramp.fits", fits.HDUList([*_hdus(LIGER), own]))
    mask = make_mask(folder / "mask.fits", np.full((6, 8), DO_NOT_USE, np.uint32))
    with pytest.raises(RampFormatError, match=r"without room for REFERENCE_PIXEL of 48 pixels"):
        apply_dq(ramp, mask=mask)
    out = apply_dq(ramp, mask=mask, dq_bits="low16").output
    assert (arrays(Path(out))["PIXELDQ"] == own.data | DO_NOT_USE).all()
    history = "".join("".join(fits.getheader(out)["HISTORY"]).split())
    assert "flagsbefore,notinDQ,whichhas16bits:48REFERENCE_PIXEL" in history


def test_what_cannot_be_done_names_the_layout(folder: Path) -> None:
    ramp, mask = write_hdus(folder / "ramp.fits", _hdus(LIGER)), _mask(folder)
    named = r"layout liger_iris_pipeline \(DATAMODL RampModel"
    with pytest.raises(RampFormatError, match=rf"A/D limits.*{named}"):
        apply_dq(ramp, mask=mask, recipe={"full_scale": 65535}, dq_bits="low16")
    with pytest.raises(RampFormatError, match=named):
        find_bad_pixels([ramp], folder / "made.fits", detector="IRIS1")
    result = DQInitStep.call(
        str(ramp), override_mask=str(mask), dq_bits="low16", configure_log=False
    )
    with pytest.raises(RampFormatError, match=named):
        result.meta.filename  # noqa: B018 - it opens the model
    first = apply_dq(ramp, mask=mask, dq_bits="low16").output
    with pytest.raises(AlreadyInitializedError):
        apply_dq(first)
    with pytest.raises(RampFormatError, match=named):
        apply_dq(first, folder / "more.fits", mask=mask, start_over=True)
    apply_dq(first, folder / "more.fits", mask="N/A", again=True)
    np.testing.assert_array_equal(_samples(folder / "more.fits", LIGER), _samples(first, LIGER))


def test_reports_and_watches_know_it(folder: Path) -> None:
    ramp = write_hdus(folder / "ramp.fits", _hdus(LIGER))
    with pytest.raises(RampFormatError, match="not initialized"):
        summarize(ramp)
    fd = os.open(ramp, os.O_RDONLY)
    assert completeness.structure(fd, ramp.stat().st_size) == ("whole", None, "")
    os.close(fd)
    out = apply_dq(ramp, mask=_mask(folder), dq_bits="low16").output
    found = explain(out, x=3, y=2)
    assert [(flag.name, flag.groups, flag.total) for flag in found.groups] == [("DO_NOT_USE", 6, 6)]
    assert found.samples.reads is not None
    np.testing.assert_array_equal(found.samples.reads[:, 1, 1], np.arange(6) * 48 + 10)
    assert "Samples in DQ" in invoke("explain", out, "--pixel", "3,2").out


@pytest.mark.parametrize("status", ["COMPLETE", "SKIPPED"])
def test_its_asdf_tree_is_true(folder: Path, status: str) -> None:
    """A pipeline that cannot read its own cards opens files whose tree has their digest."""
    buffer = io.BytesIO()
    tree = {"meta": {"filename": "ramp.fits"}, "_fits_hash": "of other headers"}
    asdf.AsdfFile(tree).write_to(buffer)
    column = fits.Column(
        "ASDF_METADATA",
        f"{len(buffer.getvalue())}B",
        array=[np.frombuffer(buffer.getvalue(), "u1")],
    )
    kept = fits.BinTableHDU.from_columns([column], name="ASDF")
    ramp = write_hdus(folder / "ramp.fits", fits.HDUList([*_hdus(LIGER), kept]))
    mask = _mask(folder) if status == "COMPLETE" else "N/A"
    out = apply_dq(ramp, mask=mask, dq_bits="low16").output
    with fits.open(out) as hdus:
        heads = "".join(str(hdu.header) for hdu in hdus if hdu.name != "ASDF")
        with asdf.open(io.BytesIO(hdus["ASDF"].data.tobytes())) as file:
            found = file.tree
            assert found["_fits_hash"] == hashlib.sha256(heads.encode()).hexdigest()
            assert found["meta"]["drs_step"]["dq_init"] == status
            assert found["meta"]["filename"] == "ramp_dqinit.fits"
