"""Bad input: the right error through every face, nothing written, nothing changed.

Each case builds its files in a folder and says what the error must be. It is run through
`apply_dq` and through ``tmt-dq apply`` (and, where it concerns the choice of the mask, through
`select_mask` and ``tmt-dq select``), and the folder must be what it was.
"""

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from builders import (
    compress_gzip,
    compress_tiles,
    dq_def,
    folder_state,
    invoke,
    make_mask,
    make_ramp,
    ramp_hdus,
    write_hdus,
)
from tmt_dq import errors
from tmt_dq.apply.apply import apply_dq
from tmt_dq.references import select_mask

Options = dict[str, Any]
Build = Callable[[Path], Options]


@dataclass(frozen=True)
class Case:
    """One bad input: what it gets, and what the message says."""

    build: Build
    kind: type[errors.TmtDqError]
    fragments: tuple[str, ...]
    select: bool = False


CASES: dict[str, Case] = {}


def bad(
    name: str, kind: type[errors.TmtDqError], *fragments: str, select: bool = False
) -> Callable[[Build], Build]:
    """Add a case to the table; it returns the options that differ from a good run."""

    def add(build: Build) -> Build:
        assert name not in CASES
        CASES[name] = Case(build, kind, fragments, select)
        return build

    return add


RAMP, PLACE, CHOICE = errors.RampFormatError, errors.GeometryError, errors.SelectionError


def add(
    name: str,
    kind: type[errors.TmtDqError],
    *fragments: str,
    select: bool = False,
    options: Options | None = None,
    **ramp: Any,
) -> None:
    """Add a case in which the ramp differs from a good one by options of `make_ramp`."""

    def build(folder: Path) -> Options:
        return {"ramp": make_ramp(folder / "bad.fits", **ramp), **(options or {})}

    bad(name, kind, "bad.fits", *fragments, select=select)(build)


_told: tuple[str, ...]
_options: Any
"""Fragments of a message, and options of a case, in the tables below."""


def raw(content: bytes) -> Callable[[Path], Path]:
    def make(path: Path) -> Path:
        path.write_bytes(content)
        return path

    return make


def a_folder(path: Path) -> Path:
    path.mkdir()
    return path


def changed(
    change: Callable[[bytes], bytes],
    pack: Callable[[Path, Path], Path] | None = None,
    **options: Any,
) -> Callable[[Path], Path]:
    """Return what makes a ramp, compressed by `pack`, with other bytes."""

    def make(path: Path) -> Path:
        if pack is None:
            make_ramp(path, **options)
        else:
            pack(make_ramp(path.with_name("plain.fits"), **options), path)
        path.write_bytes(change(path.read_bytes()))
        return path

    return make


def add_ramp(name: str, make: Callable[[Path], Path], *fragments: str, select: bool = True) -> None:
    def build(folder: Path) -> Options:
        return {"ramp": make(folder / "bad.fits")}

    bad(f"ramp: {name}", errors.RampFormatError, "bad.fits", *fragments, select=select)(build)


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
SCI = np.random.default_rng(3).integers(0, 60000, (1, 3, 6, 80), np.uint16)
add_ramp("text", raw(b"not a FITS file\n" * 400), "is not a FITS file", "SIMPLE  =")
add_ramp("LFS pointer", raw(LFS), "Git LFS pointer", "git lfs pull")
add_ramp("truncated data", changed(lambda c: c[:5800]), "is truncated", "6048", "5800", "Fetch")
add_ramp("missing", lambda path: path, "No such file")
add_ramp("a folder", a_folder, "is a folder; expected a FITS file")
add_ramp("gzip of text", raw(gzip.compress(b"Dear diary")), "not a FITS file")
_make = changed(lambda c: c[:-30], compress_gzip)
add_ramp("cut gzip", _make, "truncated gzip", "Fetch it again", select=False)
_make = changed(lambda c: c[:-4000] + b"\xaa" * 1100 + c[-2900:], compress_tiles, sci=SCI)
add_ramp("damaged tiles", _make, "SCI", select=False)
_make = changed(lambda c: c.replace(b"ZNAXIS  =", b"YNAXIS  ="), compress_tiles)
add_ramp("tiles without a shape", _make, "ZNAXIS")
_make = changed(lambda c: c.replace(b"12345 ", b"1 2 ' "), header={"SUBARRAY": 12345})
add_ramp("unreadable card", _make, "SUBARRAY")


def table(name: str) -> Any:
    return fits.BinTableHDU.from_columns([fits.Column("A", "J", array=[1])], name=name)


ZEROS, UNSET = np.zeros((6, 8), np.uint32), fits.card.Undefined()
TWICE = [fits.ImageHDU(ZEROS, name="PIXELDQ", ver=2)]
add("SCI 1-D", RAMP, "SCI is 1-D", "4-D (nints, ngroups, ny, nx)", shape=(8,))
add("SCI 5-D", RAMP, "SCI is 5-D (1, 1, 3, 6, 8)", shape=(1, 1, 3, 6, 8))
add("two SCI", RAMP, "2 extensions SCI", "one", extra=[fits.ImageHDU(name="SCI", ver=2)])
add("two PIXELDQ", RAMP, "2 extensions PIXELDQ", pixeldq=ZEROS, extra=TWICE)
add("float PIXELDQ", RAMP, "PIXELDQ", "floating-point", pixeldq=np.zeros((6, 8)))
add("negative PIXELDQ", RAMP, "-5", "whole numbers", pixeldq=np.full((6, 8), -5, np.int32))
add(
    "int16 GROUPDQ",
    RAMP,
    *("GROUPDQ is not uint8", "BITPIX 16", "expected 8"),
    groupdq=np.zeros((1, 3, 6, 8), np.int16),
)
for _word, _value in (("no", None), ("empty", "  "), ("undefined", UNSET)):
    for _key in ("INSTRUME", "DETECTOR"):
        _told = (f"no {_key} keyword", "add")
        add(f"{_word} {_key}", RAMP, *_told, header={_key: _value}, select=True)
add(
    "neither INSTRUME nor DETECTOR",
    RAMP,
    "no INSTRUME and no DETECTOR keyword",
    header={"INSTRUME": None, "DETECTOR": None},
    select=True,
)


def beside(hdu: Any) -> Callable[[Path], Path]:
    """Return what makes a file of a ramp's primary header and another extension."""
    return lambda path: write_hdus(path, fits.HDUList([ramp_hdus()[0], hdu]))


ERR = fits.ImageHDU(np.zeros((6, 8)), name="ERR")
add_ramp("no SCI", beside(ERR), "no SCI extension", "primary HDU, ERR", select=False)
add_ramp("SCI a table", beside(table("SCI")), "SCI is a table", "4-D", select=False)
AXIS = b"NAXIS3  =                    "
empty = changed(lambda c: c.replace(AXIS + b"3", AXIS + b"0")[:5760])
add_ramp("SCI with a zero axis", empty, "no length of zero", select=False)
add_ramp("a mask", make_mask, "is a reference file", "--mask")
infinite = changed(lambda c: c.replace(b"123456", b" 1E999"), header={"SUBSTRT1": 123456})


for _name in ("N/A", "ANY", "*", "n/a", "UNDEFINED", "IRIS9", "IRIS"):
    _told = (f"DETECTOR is '{_name}'", "IRIS1", "Correct the DETECTOR")
    add(f"DETECTOR {_name}", CHOICE, *_told, header={"DETECTOR": _name}, select=True)
_told = ("NIRSPEC", "IRIS", "Add an instrument")
add("another INSTRUME", CHOICE, *_told, header={"INSTRUME": "NIRSPEC"}, select=True)
RULES: Options = {"mask": None}
for _name, _header, _told in [
    ("no date", {"DATE-OBS": None}, ("DATE-OBS", "YYYY-MM-DD")),
    ("no time", {"TIME-OBS": None}, ("TIME-OBS", "hh:mm:ss")),
    ("date of words", {"DATE-OBS": "May 1st"}, ("DATE-OBS", "'May 1st'", "YYYY-MM-DD")),
    ("date that is none", {"DATE-OBS": "2026-02-30"}, ("DATE-OBS", "2026-02-30")),
    ("time that is none", {"TIME-OBS": "25:00:00"}, ("25:00:00",)),
    ("date a number", {"DATE-OBS": 20260501}, ("DATE-OBS", "20260501")),
]:
    add(_name, RAMP, *_told, header=_header, select=True, options=RULES)

for _name, _header, _told in [
    ("no SUBSTRT2", {"SUBSTRT2": None}, ("keywords SUBSTRT2", "--subarray")),
    ("SUBSTRT without values", {"SUBSTRT1": UNSET}, ("keywords SUBSTRT1",)),
    ("SUBSIZE1 contradicts", {"SUBSIZE1": 9}, ("SUBSIZE1 is 9", "data are 8 × 6")),
    ("SUBSIZE swapped", {"SUBSIZE1": 6, "SUBSIZE2": 8}, ("SUBSIZE1 is 6", "SUBSIZE2 is 8")),
    ("fractional start", {"SUBSTRT1": 1.5}, ("SUBSTRT1 is 1.5", "whole number")),
    ("start of text", {"SUBSTRT1": "one"}, ("SUBSTRT1 is 'one'", "whole number")),
    ("another detector size", {"DETXSIZE": 2048}, ("DETXSIZE is 2048", "4096 × 4096")),
]:
    add(_name, PLACE, *_told, header=_header)
for _name, _options, _told in [
    ("beyond the right edge", {"start": (4090, 1)}, ("x 4090–4097", "detector IRIS1, x 1–4096")),
    ("beyond the upper edge", {"start": (1, 4092)}, ("y 4092–4097", "leaves the detector")),
    ("start 0", {"start": (0, 1)}, ("x = 0, y = 1", "count from 1")),
    ("PIXELDQ of another shape", {"pixeldq": ZEROS.T}, ("PIXELDQ", "(8, 6)", "(6, 8)")),
    ("PIXELDQ a table", {"extra": [table("PIXELDQ")]}, ("PIXELDQ", "(6, 8)")),
    (
        "GROUPDQ of another shape",
        {"groupdq": np.zeros((1, 2, 6, 8), np.uint8)},
        ("GROUPDQ", "(1, 2, 6, 8)", "(1, 3, 6, 8)"),
    ),
    (
        "no SUBARRAY keywords",
        {"start": None},
        ("8 × 6", "4096 × 4096", "SUBSTRT1, SUBSTRT2, SUBSIZE1, SUBSIZE2", "--subarray X,Y"),
    ),
]:
    add(_name, PLACE, *_told, **_options)


@bad("infinite start", errors.GeometryError, "bad.fits", "SUBSTRT1", "whole number")
def _(folder: Path) -> Options:
    return {"ramp": infinite(folder / "bad.fits")}


for _name, _start, _told, _options in [
    ("0,1", (0, 1), ("x = 0, y = 1", "count from 1"), {"start": None}),
    ("too far", (4096, 4096), ("leaves the detector",), {"start": None}),
    ("against the header", (2, 1), ("SUBSTRT1 is 1 in the header", "says 2"), {}),
]:
    add(f"--subarray {_name}", PLACE, *_told, options={"subarray": _start}, **_options)


@bad("full frame that starts elsewhere", errors.GeometryError, "bad.fits", "leaves the detector")
def _(folder: Path) -> Options:
    cards = {"SUBSIZE1": None, "SUBSIZE2": None, "SUBSTRT2": 2}
    path = make_ramp(folder / "bad.fits", (1, 1, 6, 8), header=cards)
    content = path.read_bytes()
    for axis, old in (("NAXIS1", 8), ("NAXIS2", 6)):
        content = content.replace(f"{axis}  = {old:20}".encode(), f"{axis}  = {4096:20}".encode())
    path.write_bytes(content)
    with path.open("r+b") as file:
        file.truncate(5760 + 2 * 4096 * 4096)  # a hole: it costs nothing
    return {"ramp": path}


GOOD_DQ = np.zeros((6, 8), np.uint32)
MASK, FLAG = errors.MaskFormatError, errors.UnknownFlagError


def add_mask(
    name: str,
    kind: type[errors.TmtDqError],
    *fragments: str,
    make: Callable[[Path], Path] | None = None,
    dq: Any = GOOD_DQ,
    hdu: str = "DQ",
    **options: Any,
) -> None:
    """Add a case in which the mask differs from a good one by options of `make_mask`."""

    def build(folder: Path) -> Options:
        path = folder / "bad.fits"
        return {"mask": make_mask(path, dq, name=hdu, **options) if make is None else make(path)}

    bad(name, kind, "bad.fits", *fragments)(build)


def cut(path: Path) -> Path:
    make_mask(path)
    path.write_bytes(path.read_bytes()[:5800])
    return path


add_mask("mask: missing", MASK, "No such file", make=lambda path: path)
add_mask("mask: a folder", MASK, "is a folder; expected a FITS file", make=a_folder)
add_mask("mask: text", MASK, "not a FITS file", make=raw(b"not a FITS file" * 300))
add_mask("mask: LFS pointer", MASK, "git lfs", make=raw(LFS))
add_mask("mask: truncated", MASK, "is truncated", make=cut)
for _value, _told in (
    (np.int32(-1), ("-1", "(1, 2)", "whole numbers from 0 to")),
    (np.int64(2**32), ("4294967296", "0 to 4294967295")),
    (np.float32("nan"), ("nan", "(1, 2)")),
):
    _dq = np.zeros((6, 8), _value.dtype)
    _dq[1, 2] = _value
    add_mask(f"mask: {_value} as {_value.dtype}", MASK, *_told, dq=_dq)
add_mask("mask: no DQ", MASK, "no image extensions DQ", "BADPIX", hdu="BADPIX")
SECOND = [fits.ImageHDU(GOOD_DQ, name="DQ")]
add_mask("mask: two DQ", MASK, "2 image extensions DQ", "expected one", extra=SECOND)
add_mask("mask: DQ a table", MASK, "image extension", hdu="X", extra=[table("DQ")])
add_mask(
    "mask: DQ 3-D", MASK, "(2, 6, 8)", "of the shape (ny, nx)", dq=np.zeros((2, 6, 8), np.uint32)
)
for _key, _value, _told in [
    ("REFTYPE", "DARK", ("REFTYPE is DARK", "expected MASK")),
    ("DETECTOR", "IRIS2", ("DETECTOR IRIS2", "ramp.fits", "IRIS1")),
    ("INSTRUME", "LIGER", ("INSTRUME LIGER", "IRIS")),
]:
    add_mask(f"mask: {_key} {_value}", MASK, *_told, header={_key: _value})


def add_table(
    name: str,
    kind: type[errors.TmtDqError],
    *fragments: str,
    rows: Any,
    dq: int = 0,
    formats: tuple[str, str] = ("J", "J"),
) -> None:
    """Add a case with a table DQ_DEF of these rows; dq is the value of all pixels."""
    flags, extra = np.full((6, 8), dq, np.uint32), [dq_def(rows, formats)]
    add_mask(f"DQ_DEF: {name}", kind, *fragments, dq=flags, extra=extra)


TWO = [(0, 1, "HOT"), (0, 1, "DEAD")]
UNKNOWN = [(0, 1, "HOT"), (1, 2, "MY_FLAG")]
add_table("duplicate value", MASK, "row 2", "row 1 has the same VALUE", rows=TWO)
add_table("text", MASK, "VALUE", rows=[(0, "one", "HOT")], formats=("J", "8A"))
add_table("unknown name", FLAG, "row 2", "'MY_FLAG'", "--unknown drop", rows=UNKNOWN)
_told = ("bit 2 (value 4) in 48 pixels", "--unknown drop")
add_table("bits without a meaning", FLAG, *_told, rows=[(0, 1, "HOT")], dq=5)
IMAGE, OTHER = [fits.ImageHDU(GOOD_DQ, name="DQ_DEF")], [table("DQ_DEF")]
add_mask("DQ_DEF: an image", MASK, "DQ_DEF is an image", "expected a table", extra=IMAGE)
add_mask("DQ_DEF: no columns", MASK, "no column BIT, VALUE, NAME", "found A", extra=OTHER)
add_mask("DQ_DEF: twice", MASK, "2 tables DQ_DEF", extra=[dq_def([row]) for row in TWO])
for _name, _told, _options in [
    ("does not cover", ("y 1–5", "ramp.fits", "y 1–6"), {"dq": np.zeros((5, 8), np.uint32)}),
    ("lies elsewhere", ("x 2–9", "x 1–8"), {"start": (2, 1)}),
    ("one pixel", ("x 1–1, y 1–1",), {"dq": np.ones((1, 1), np.uint32), "start": None}),
    ("SUBSIZE contradicts", ("SUBSIZE1 9", "8 × 6"), {"header": {"SUBSIZE1": 9}}),
    ("start 0", ("SUBSTRT1 0", "from 1"), {"header": {"SUBSTRT1": 0}}),
    ("fractional start", ("SUBSTRT1 1.5", "whole number"), {"header": {"SUBSTRT1": 1.5}}),
]:
    add_mask(f"mask: {_name}", PLACE, *_told, **_options)


@bad("mask: another orientation", errors.GeometryError, "bad.fits", "(1, -2)", "with (1, 2)")
def _(folder: Path) -> Options:
    axes = {"FASTAXIS": 1, "SLOWAXIS": 2}
    mask = make_mask(folder / "bad.fits", header={"FASTAXIS": 1, "SLOWAXIS": -2})
    return {"ramp": make_ramp(folder / "turned.fits", header=axes), "mask": mask}


@bad("mask: larger than the detector", errors.GeometryError, "bad.fits", "x 1–4100", "4096")
def _(folder: Path) -> Options:
    return {"mask": make_mask(folder / "bad.fits", np.zeros((4096, 4100), np.uint8))}


def twice(keyword: str, value: object, other: object) -> None:
    """Two values, in the primary header alone or in it and SCI's."""

    def same(folder: Path) -> Options:
        hdus = ramp_hdus(header={keyword: value})
        hdus[0].header.append((keyword, other), end=True)
        return {"ramp": write_hdus(folder / "bad.fits", hdus)}

    def both(folder: Path) -> Options:
        cards: dict[str, Any] = {"header": {keyword: value}, "sci_header": {keyword: other}}
        return {"ramp": make_ramp(folder / "bad.fits", **cards)}

    selects = keyword not in {"SUBSTRT1", "FASTAXIS"}
    for place, build in (("primary HDU", same), ("SCI", both)):
        told = f"{keyword} has two values: {value!r} in primary HDU, {other!r} in {place}"
        bad(f"two values of {keyword}, {place}", errors.RampFormatError, told, select=selects)(
            build
        )


twice("DETECTOR", "IRIS1", "IRIS2")
twice("INSTRUME", "IRIS", "MODHIS")
twice("DATE-OBS", "2026-05-01", "2025-05-01")
twice("SUBARRAY", "CUSTOM", "FULL")
twice("SUBSTRT1", 1, 51)
twice("FASTAXIS", 1, 2)


TABLES = [fits.BinTableHDU(np.zeros(1, [("a", "u1")]), name="ASDF", ver=n) for n in (1, 2)]
add("two extensions ASDF", RAMP, "2 extensions ASDF", extra=TABLES)
SCALED = fits.ImageHDU(np.zeros((6, 8), np.int16), name="PIXELDQ")
SCALED.header["BSCALE"] = "x"
add("BSCALE is no number", RAMP, "BSCALE of PIXELDQ is 'x'", extra=[SCALED])


def user_dq(
    name: str, kind: type[errors.TmtDqError], array: Any, *fragments: str, **options: Any
) -> None:
    def build(folder: Path) -> Options:
        hdus = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(array, name="DQ")])
        for key, value in options.items():
            hdus[1].header[key] = value
        return {"user_dq": write_hdus(folder / "bad.fits", hdus)}

    bad(f"user DQ: {name}", kind, "bad.fits", *fragments)(build)


user_dq("another shape", PLACE, GOOD_DQ.T, "6 × 8", "8 × 6", "4096 × 4096")
user_dq("one pixel", PLACE, np.ones((1, 1), np.uint32), "1 × 1", "8 × 6")
user_dq("negative", MASK, np.full((6, 8), -1, np.int16), "-1", "whole numbers")
user_dq("4-D", MASK, np.zeros((1, 3, 6, 8), np.uint32), "(1, 3, 6, 8)")
user_dq("no image", MASK, None, "2-D image")
user_dq("elsewhere", PLACE, GOOD_DQ, "x 3–10", "x 1–8", SUBSTRT1=3, SUBSTRT2=1)
user_dq("another detector", MASK, GOOD_DQ, "IRIS3", DETECTOR="IRIS3")


@bad("user DQ: truncated", errors.MaskFormatError, "bad.fits", "truncated")
def _(folder: Path) -> Options:
    path = write_hdus(folder / "bad.fits", fits.HDUList([fits.PrimaryHDU(GOOD_DQ)]))
    path.write_bytes(path.read_bytes()[:2900])
    return {"user_dq": path}


@bad("user DQ: gzipped text", errors.MaskFormatError, "bad.txt.gz", "not a FITS file")
def _(folder: Path) -> Options:
    (folder / "bad.txt.gz").write_bytes(gzip.compress(b"# base: 1\nx y flag\n1 1 HOT\n"))
    return {"user_dq": folder / "bad.txt.gz"}


@bad("user DQ: missing", errors.MaskFormatError, "bad.fits", "No such file")
def _(folder: Path) -> Options:
    return {"user_dq": folder / "bad.fits"}


@bad("user DQ: two images", errors.ConfigError, "bad.fits", "2 2-D images", "OTHER (6, 8)")
def _(folder: Path) -> Options:
    hdus = fits.HDUList([fits.PrimaryHDU(GOOD_DQ), fits.ImageHDU(GOOD_DQ, name="OTHER")])
    return {"user_dq": write_hdus(folder / "bad.fits", hdus)}


@bad("output exists", errors.OutputError, "out.fits", "already exists", "--overwrite")
def _(folder: Path) -> Options:
    (folder / "out.fits").write_bytes(b"precious")
    return {}


def add_output(name: str, linked: bool) -> None:
    """Add a case in which the output is an input, or a link to it."""

    @bad(f"output {name}, {linked}", errors.OutputError, f"{name} are the same file")
    def _(folder: Path) -> Options:
        if linked:
            (folder / "out.fits").symlink_to(name)
        return {"output": folder / ("out.fits" if linked else name), "overwrite": True}


for _name in ("ramp.fits", "mask.fits"):
    for _linked in (False, True):
        add_output(_name, _linked)


@bad("output is the user DQ", errors.OutputError, "user.fits are the same file")
def _(folder: Path) -> Options:
    hdus = fits.HDUList([fits.PrimaryHDU(GOOD_DQ)])
    user = write_hdus(folder / "user.fits", hdus)
    return {"output": user, "user_dq": user, "overwrite": True}


@bad("output and output folder", errors.ConfigError, "output", "one of them")
def _(folder: Path) -> Options:
    return {"output_dir": folder}


@bad("CRDS path wrong", errors.ConfigError, "nowhere", select=True)
def _(folder: Path) -> Options:
    return {**RULES, "crds_path": folder / "nowhere"}


_told = ("bad.fits", "2014-12-31", "2015-01-01")
add(
    "before the first rule",
    errors.NoMatchError,
    *_told,
    header={"DATE-OBS": "2014-12-31"},
    select=True,
    options=RULES,
)


def prepare(case: Case, folder: Path) -> Options:
    """Make a good ramp and mask, then what is bad; return the options."""
    options: Options = {
        "ramp": make_ramp(folder / "ramp.fits"),
        "mask": make_mask(folder / "mask.fits"),
        "output": folder / "out.fits",
    }
    options |= case.build(folder)
    return {key: value for key, value in options.items() if value is not None}


def arguments(options: Options, verb: str) -> list[str]:
    """Say the same on the command line."""
    words = [verb, str(options["ramp"])]
    for key, value in options.items():
        option = f"--{key.replace('_', '-')}"
        if key == "subarray":
            words += [option, f"{value[0]},{value[1]}"]
        elif value is True:
            words.append(option)
        elif key != "ramp":
            words += [option, str(value)]
    return words


def test_the_good_run_is_good(folder: Path) -> None:
    case = Case(lambda _: {}, errors.TmtDqError, ())
    options = prepare(case, folder)
    assert apply_dq(**options).status == "COMPLETE"
    assert invoke(*arguments(options, "apply"), "--overwrite").code == 0


@pytest.mark.filterwarnings("ignore::astropy.io.fits.verify.VerifyWarning")
@pytest.mark.parametrize("name", CASES)
def test_apply(name: str, folder: Path) -> None:
    case = CASES[name]
    options = prepare(case, folder)
    before = folder_state(folder)
    with pytest.raises(errors.TmtDqError) as caught:
        apply_dq(**options)
    check(caught.value, case)
    outcome = invoke(*arguments(options, "apply"), code=case.kind.exit_code)
    assert outcome.out == ""
    assert outcome.err.startswith("Error: ")
    for fragment in case.fragments:
        assert fragment in outcome.err
    assert folder_state(folder) == before


@pytest.mark.filterwarnings("ignore::astropy.io.fits.verify.VerifyWarning")
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.select])
def test_select(name: str, folder: Path) -> None:
    case = CASES[name]
    options = prepare(case, folder)
    options = {k: v for k, v in options.items() if k in ("ramp", "crds_path", "context")}
    before = folder_state(folder)
    with pytest.raises(errors.TmtDqError) as caught:
        select_mask(**options)
    check(caught.value, case)
    outcome = invoke(*arguments(options, "select"), code=case.kind.exit_code)
    assert outcome.out == ""
    # The command line sets further lines of a message in.
    assert " ".join(caught.value.what.split()) in " ".join(outcome.err.split())
    assert folder_state(folder) == before


def check(error: errors.TmtDqError, case: Case) -> None:
    assert type(error) is case.kind, error
    for fragment in case.fragments:
        assert fragment in str(error)
    assert error.hint, f"no word on what to do: {error}"
