"""What all models share: strictness, short names, and files that are whole or not there."""

import errno
import warnings
from typing import Any

import numpy as np
import pytest
from asdf.exceptions import ValidationError
from astropy.io import fits
from stdatamodels.exceptions import ValidationWarning

from tmt_dq.datamodels import TMTMaskModel, TMTRampModel
from tmt_dq.errors import ConfigError, MaskFormatError, OutputError, RampFormatError, TmtDqError


@pytest.fixture(params=[TMTMaskModel, TMTRampModel])
def model(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def shape(model: Any) -> tuple[int, ...]:
    return (3, 4) if model is TMTMaskModel else (1, 2, 3, 4)


@pytest.fixture
def kind(model: Any) -> type[TmtDqError]:
    """Return the class of the errors about its files."""
    return MaskFormatError if model is TMTMaskModel else RampFormatError


def test_short_names_are_the_long_ones(tmp_path: Any, model: Any, shape: Any) -> None:
    made = model(shape)
    assert made.meta.name is None
    made.meta.name = "IRIS"
    made.meta.instrument.detector = "IRIS1"
    for opened in (made, model(made.write(tmp_path / "a.fits")), made.copy()):
        assert opened.meta.name == opened.meta.instrument.name == opened["meta.name"] == "IRIS"
        assert opened.meta.detector == opened.meta.instrument.detector == "IRIS1"
    made["meta.detector"] = "IRIS4"
    assert made.meta.instrument.detector == "IRIS4"
    header = fits.getheader(tmp_path / "a.fits")
    assert (header["INSTRUME"], header["DETECTOR"]) == ("IRIS", "IRIS1")


def test_trees_with_short_names_are_brought_home(model: Any, kind: Any) -> None:
    """The old fork kept meta.name as such, where nothing looked."""
    opened = model({"meta": {"name": "IRIS", "instrument": {"detector": "IRIS1", "name": "IRIS"}}})
    assert opened.meta.instrument.instance == {"name": "IRIS", "detector": "IRIS1"}
    assert "name" not in opened.meta.instance
    with pytest.raises(kind, match=r"meta.name is 'IRIS', but meta.instrument.name is 'LIGER'"):
        model({"meta": {"name": "IRIS", "instrument": {"name": "LIGER"}}})


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("meta.exposure.nints", "one"),
        ("meta.exposure.nints", 1.5),
        ("meta.subarray.xstart", "1"),
        ("meta.subarray.fastaxis", 3),
        ("meta.subarray.id", -1),
        ("meta.instrument.name", 5),
        ("meta.detector", 5),
        ("meta.instrument", "IRIS"),
    ],
)
def test_a_value_that_does_not_fit_is_an_error_with_its_place(
    model: Any, shape: Any, kind: Any, place: Any, value: Any
) -> None:
    opened = model(shape)
    with pytest.raises(kind) as caught:
        opened[place] = value
    assert caught.value.where in {place, "meta.instrument.detector"}
    assert repr(value) in caught.value.what
    assert isinstance(caught.value, ValueError)


def test_strictness_is_not_taken_away_by_the_environment(
    monkeypatch: Any, model: Any, shape: Any, kind: Any
) -> None:
    monkeypatch.setenv("STRICT_VALIDATION", "false")
    for opened in (model(shape), model(shape).copy(), model(model(shape))):
        with pytest.raises(kind):
            opened.meta.exposure.nints = "one"


def test_strictness_can_be_declined(model: Any, shape: Any) -> None:
    opened = model(shape, strict_validation=False)
    with pytest.warns(ValidationWarning):
        opened.meta.exposure.nints = "one"


def test_bad_keywords_of_a_file_are_an_error(
    tmp_path: Any, model: Any, shape: Any, kind: Any
) -> None:
    path = model(shape).write(tmp_path / "file.fits")
    fits.setval(path, "FASTAXIS", value=9)
    with pytest.raises(kind, match=r"9 is not one of \[-2, -1, 1, 2\]") as caught:
        model(path)
    assert caught.value.where == str(path)


def test_keywords_without_a_value_are_absent(tmp_path: Any, model: Any, shape: Any) -> None:
    path = model(shape).write(tmp_path / "file.fits")
    with fits.open(path, mode="update") as file:
        file[0].header["FILTER"] = fits.Undefined()
        file[0].header["OWN"] = fits.Undefined()
    with model(path) as read:
        assert read.meta.instrument.filter is None
        assert "OWN" not in read.fits_keywords()
        read.save(tmp_path / "again.fits")


def test_keywords_of_others_come_through(tmp_path: Any, model: Any, shape: Any) -> None:
    path = model(shape).write(tmp_path / "file.fits")
    with fits.open(path, mode="update") as file:
        file[0].header["DETXSIZ"] = 4096
        file[0].header["CHANNEL"] = 64
        file.append(fits.ImageHDU(np.arange(3), name="EXTRA"))
    with model(path) as read:
        assert read.fits_keywords()["DETXSIZ"] == 4096
        read.save(tmp_path / "again.fits")
    with fits.open(tmp_path / "again.fits") as file:
        assert (file[0].header["DETXSIZ"], file[0].header["CHANNEL"]) == (4096, 64)
        assert file["EXTRA"].data.tolist() == [0, 1, 2]


def test_files_that_cannot_be_read_are_an_error_that_names_them(
    tmp_path: Any, model: Any, shape: Any, kind: Any
) -> None:
    whole = model(shape).write(tmp_path / "whole.fits").read_bytes()
    (tmp_path / "garbage.fits").write_bytes(b"garbage" * 1000)
    (tmp_path / "empty.fits").write_bytes(b"")
    (tmp_path / "garbage.asdf").write_bytes(b"garbage" * 1000)
    (tmp_path / "folder.fits").mkdir()
    names = ["garbage.fits", "empty.fits", "garbage.asdf", "folder.fits", "none.fits", "none.asdf"]
    for cut in (100, 2880, 2880 * 2, len(whole) - 2881):
        name = f"cut{cut}.fits"
        (tmp_path / name).write_bytes(whole[:cut])
        names.append(name)
    (tmp_path / "mask.dat").write_bytes(whole)
    names.append("mask.dat")
    for name in names:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what astropy and asdf say besides is theirs
            with pytest.raises(kind) as caught:
                model(tmp_path / name)
        assert name in str(caught.value)


def test_an_open_file_gives_its_name(tmp_path: Any, model: Any, shape: Any) -> None:
    path = model(shape).write(tmp_path / "file.fits").rename(tmp_path / "renamed.fits")
    with fits.open(path) as file, model(file) as read:
        assert read.meta.filename == "renamed.fits"
        assert read.shape == shape


def test_a_damaged_asdf_extension_is_an_error(
    tmp_path: Any, model: Any, shape: Any, kind: Any
) -> None:
    path = model(shape).write(tmp_path / "file.fits")
    content = path.read_bytes()
    assert content.count(b"%YAML") == 1
    path.write_bytes(content.replace(b"%YAML 1.1\n%TAG", b"%YAML 1.1\n\t[%T", 1))
    with pytest.raises(kind, match="ASDF"):
        model(path)


def test_write_makes_folders_and_save_does_not(tmp_path: Any, model: Any, shape: Any) -> None:
    target = tmp_path / "a" / "b" / "file.fits"
    with pytest.raises(OutputError, match="does not exist"):
        model(shape).save(target)
    assert model(shape).write(target) == target
    assert target.exists()
    assert model(shape).save("other.fits", dir_path=str(target.parent)) == str(
        target.with_name("other.fits")
    )
    named = model(shape)
    named.meta.filename = "x.fits"
    assert named.save(lambda name: str(tmp_path / f"of_{name}")) == str(tmp_path / "of_x.fits")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError):
        model(shape).write(tmp_path / "file" / "x.fits")


def test_replacing_is_the_default_and_can_be_declined(
    tmp_path: Any, model: Any, shape: Any
) -> None:
    target = tmp_path / "file.fits"
    target.write_bytes(b"old")
    for decline in (
        lambda: model(shape).write(target, overwrite=False),
        lambda: model(shape).save(target, overwrite=False),
        lambda: model(shape).to_fits(target),
    ):
        with pytest.raises(OutputError, match="already exists"):
            decline()  # type: ignore[no-untyped-call]
    assert target.read_bytes() == b"old"
    model(shape).save(target)
    assert target.read_bytes()[:6] == b"SIMPLE"


def test_a_failure_leaves_what_was_there_and_no_debris(
    tmp_path: Any, monkeypatch: Any, model: Any, shape: Any
) -> None:
    target = model(shape).write(tmp_path / "file.fits")
    before = target.read_bytes()

    def full(self: Any, stream: Any, *args: Any, **kwargs: Any) -> None:
        stream.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fits.HDUList, "writeto", full)
    with pytest.raises(OutputError, match="No space left") as caught:
        model(shape).write(target)
    assert "free some space" in str(caught.value.hint)
    assert target.read_bytes() == before
    assert list(tmp_path.iterdir()) == [target]


def test_a_file_can_be_replaced_by_the_model_opened_from_it(
    tmp_path: Any, model: Any, shape: Any
) -> None:
    for name in ("file.fits", "file.asdf"):
        target = model(shape).write(tmp_path / name)
        with model(target) as opened:
            opened.meta.origin = "TMT"
            opened.save(target)
        with model(target) as read:
            assert read.meta.origin == "TMT"
            assert read.shape == shape


def test_formats_go_by_name(tmp_path: Any, model: Any, shape: Any) -> None:
    for name in ("mask.fits.gz", "mask", "mask.fit"):
        with pytest.raises(ConfigError, match="cannot tell the format"):
            model(shape).save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_streams_are_written_too(tmp_path: Any, model: Any, shape: Any) -> None:
    with (tmp_path / "file.fits").open("wb") as stream:
        model(shape).to_fits(stream)
    with model(tmp_path / "file.fits") as read:
        assert read.shape == shape


def test_errors_are_ours_and_not_the_schemas() -> None:
    mask = TMTMaskModel({"meta": {"exposure": {"nints": "one"}}})
    with pytest.raises(TmtDqError) as caught:
        mask.validate()
    assert caught.value.what == "meta.exposure.nints: 'one' is not of type 'integer'"
    assert not isinstance(caught.value, ValidationError)
