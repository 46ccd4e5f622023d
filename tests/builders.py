"""Small ramps and masks made with astropy alone, and the specification in ten lines of NumPy.

IRIS detectors are 4096 x 4096; small data are subarrays, and the masks here may be subarrays too.
"""

import contextlib
import gzip
import hashlib
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from astropy.io import fits

# The convention of JWST, bit by bit, as the project's facts state it.
CONVENTION = {
    "GOOD": 0,
    "DO_NOT_USE": 1,
    "SATURATED": 2,
    "JUMP_DET": 4,
    "DROPOUT": 8,
    "OUTLIER": 16,
    "PERSISTENCE": 32,
    "AD_FLOOR": 64,
    "CHARGELOSS": 128,
    "RESERVED": 256,
    "NON_SCIENCE": 512,
    "DEAD": 1024,
    "HOT": 2048,
    "WARM": 4096,
    "LOW_QE": 8192,
    "RC": 16384,
    "TELEGRAPH": 32768,
    "NONLINEAR": 65536,
    "BAD_REF_PIXEL": 131072,
    "NO_FLAT_FIELD": 262144,
    "NO_GAIN_VALUE": 524288,
    "NO_LIN_CORR": 1048576,
    "NO_SAT_CHECK": 2097152,
    "UNRELIABLE_BIAS": 4194304,
    "UNRELIABLE_DARK": 8388608,
    "UNRELIABLE_SLOPE": 16777216,
    "UNRELIABLE_FLAT": 33554432,
    "OPEN": 67108864,
    "ADJ_OPEN": 134217728,
    "FLUX_ESTIMATED": 268435456,
    "MSA_FAILED_OPEN": 536870912,
    "OTHER_BAD_PIXEL": 1073741824,
    "REFERENCE_PIXEL": 2147483648,
}

# Now, not later: the tests' environment has no variables of the user's.
_PYTHONS = {
    peer: os.environ[f"TMT_DQ_{peer.upper()}_PYTHON"]
    for peer in ("jwst", "romancal", "liger")
    if os.environ.get(f"TMT_DQ_{peer.upper()}_PYTHON")
}

GOLDEN_DQ_DEF = (
    (0, 1, "DO_NOT_USE"),
    (1, 2, "DEAD"),
    (2, 4, "HOT"),
    (3, 8, "UNRELIABLE_SLOPE"),
    (4, 16, "RC"),
    (5, 32, "REFERENCE_PIXEL"),
)
"""The DQ_DEF table of the golden translations: (BIT, VALUE, NAME)."""

Uint32 = npt.NDArray[np.uint32]
Row = tuple[Any, Any, str]


def shared_data() -> Path:
    """Return the folder of data files made elsewhere; it need not exist."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    return Path(os.environ.get("TMT_DQ_SHARED_DATA", beside))


def peer_python(peer: str) -> Path:
    """Return the Python of an environment with a peer; without one, skip the test."""
    if peer not in _PYTHONS:
        pytest.skip(f"TMT_DQ_{peer.upper()}_PYTHON names no Python with {peer}: see `make help`")
    return Path(_PYTHONS[peer])


def specified_pixeldq(
    mask: Uint32,
    mask_start: tuple[int, int],
    start: tuple[int, int],
    shape: tuple[int, int],
    existing: Uint32 | None = None,
    rows: Sequence[Row] | None = None,
) -> Uint32:
    """Return the PIXELDQ that the specification demands; starts are 1-based (x, y)."""
    y, x = start[1] - mask_start[1], start[0] - mask_start[0]
    cut = mask[y : y + shape[0], x : x + shape[1]]
    if rows is not None:
        translated = np.zeros(shape, np.uint32)
        for _, value, name in rows:
            translated[(cut & np.uint32(value)) != 0] |= np.uint32(CONVENTION[name])
        cut = translated
    pixeldq = np.zeros(shape, np.uint32) if existing is None else existing.astype(np.uint32)
    return np.bitwise_or(pixeldq, cut)


def _set(header: Any, cards: Mapping[str, object] | None) -> None:
    """Set keywords; None removes one."""
    for key, value in (cards or {}).items():
        if value is None:
            header.remove(key, ignore_missing=True)
        else:
            header[key] = value


def ramp_hdus(
    shape: tuple[int, ...] = (1, 3, 6, 8),
    *,
    start: tuple[int, int] | None = (1, 1),
    sci: npt.NDArray[Any] | None = None,
    pixeldq: npt.NDArray[Any] | None = None,
    groupdq: npt.NDArray[Any] | None = None,
    header: Mapping[str, object] | None = None,
    sci_header: Mapping[str, object] | None = None,
    extra: Iterable[Any] = (),
) -> Any:
    """Return a raw IRIS ramp; `start` is (SUBSTRT1, SUBSTRT2), None for no SUBARRAY keywords."""
    if sci is None:
        sci = np.arange(int(np.prod(shape)), dtype=np.uint16).reshape(shape)
    primary = fits.PrimaryHDU()
    cards: dict[str, object] = {
        "TELESCOP": "TMT",
        "INSTRUME": "IRIS",
        "DETECTOR": "IRIS1",
        "DATE-OBS": "2026-05-01",
        "TIME-OBS": "10:11:12.345",
        "EXP_TYPE": "IRIS_IMAGE",
    }
    if start is not None and sci.ndim >= 2:
        cards |= {
            "SUBARRAY": "CUSTOM",
            "SUBSTRT1": start[0],
            "SUBSTRT2": start[1],
            "SUBSIZE1": sci.shape[-1],
            "SUBSIZE2": sci.shape[-2],
        }
    _set(primary.header, cards)
    _set(primary.header, header)
    hdus = [primary, fits.ImageHDU(sci, name="SCI")]
    _set(hdus[1].header, sci_header)
    if pixeldq is not None:
        hdus.append(fits.ImageHDU(pixeldq, name="PIXELDQ"))
    if groupdq is not None:
        hdus.append(fits.ImageHDU(groupdq, name="GROUPDQ"))
    return fits.HDUList([*hdus, *extra])


def dq_def(rows: Iterable[Row], formats: tuple[str, str] = ("J", "J")) -> Any:
    """Return a DQ_DEF table of rows (BIT, VALUE, NAME)."""
    rows = list(rows)
    bits, values, names = ([row[column] for row in rows] for column in range(3))
    zero = {"bzero": 2**31} if formats[1] == "J" else {}
    as_array = {"J": np.uint32, "D": np.float64, "K": np.int64, "8A": np.str_}[formats[1]]
    bit_array = {"J": np.int32, "D": np.float64}[formats[0]]
    return fits.BinTableHDU.from_columns(
        [
            fits.Column("BIT", formats[0], array=np.array(bits, bit_array)),
            fits.Column("VALUE", formats[1], array=np.array(values, as_array), **zero),
            fits.Column("NAME", "40A", array=np.array(names, np.str_)),
            fits.Column("DESCRIPTION", "80A", array=np.array(["" for _ in rows], np.str_)),
        ],
        name="DQ_DEF",
    )


def mask_hdus(
    dq: npt.NDArray[Any] | None,
    *,
    start: tuple[int, int] | None = (1, 1),
    rows: Iterable[Row] | None = None,
    header: Mapping[str, object] | None = None,
    name: str = "DQ",
    extra: Iterable[Any] = (),
) -> Any:
    """Return a MASK reference; `start` is (SUBSTRT1, SUBSTRT2), None for no such keywords."""
    primary = fits.PrimaryHDU()
    cards: dict[str, object] = {
        "TELESCOP": "TMT",
        "INSTRUME": "IRIS",
        "DETECTOR": "IRIS1",
        "REFTYPE": "MASK",
        "USEAFTER": "2015-10-01T00:00:00",
        "PEDIGREE": "DUMMY",
        "AUTHOR": "tests",
        "DESCRIP": "A mask for tests",
    }
    if start is not None and dq is not None:
        cards |= {
            "SUBARRAY": "GENERIC",
            "SUBSTRT1": start[0],
            "SUBSTRT2": start[1],
            "SUBSIZE1": dq.shape[-1],
            "SUBSIZE2": dq.shape[-2],
        }
    _set(primary.header, cards)
    _set(primary.header, header)
    hdus = [primary]
    if dq is not None:
        hdus.append(fits.ImageHDU(dq, name=name))
    if rows is not None:
        hdus.append(dq_def(rows))
    return fits.HDUList([*hdus, *extra])


def write_hdus(path: Path, hdus: Any, *, checksum: bool = False) -> Path:
    """Write a file and return its path."""
    hdus.writeto(path, checksum=checksum, overwrite=True)
    return path


def make_ramp(path: Path, shape: tuple[int, ...] = (1, 3, 6, 8), **options: Any) -> Path:
    """Write a ramp; options as in `ramp_hdus`, and `checksum`."""
    checksum = options.pop("checksum", False)
    return write_hdus(path, ramp_hdus(shape, **options), checksum=checksum)


def make_mask(path: Path, dq: npt.NDArray[Any] | None = None, **options: Any) -> Path:
    """Write a mask; by default DEAD at [0, 0] and HOT | DO_NOT_USE at [2, 3] of 6 x 8 pixels."""
    if dq is None:
        dq = np.zeros((6, 8), np.uint32)
        dq[0, 0] = CONVENTION["DEAD"]
        dq[2, 3] = CONVENTION["HOT"] | CONVENTION["DO_NOT_USE"]
    return write_hdus(path, mask_hdus(dq, **options))


def compress_gzip(source: Path, target: Path) -> Path:
    """Gzip a file."""
    with source.open("rb") as plain, gzip.open(target, "wb") as packed:
        shutil.copyfileobj(plain, packed)
    return target


def compress_tiles(
    source: Path, target: Path, names: Iterable[str] = ("SCI",), *, rows: int = 1
) -> Path:
    """Write a file again with images as compressed tiles (lossless)."""
    wanted = set(names)
    with fits.open(source) as hdus:
        written = [
            fits.CompImageHDU(
                hdu.data,
                hdu.header,
                compression_type="GZIP_1",
                tile_shape=(*(1 for _ in hdu.data.shape[:-2]), rows, hdu.data.shape[-1]),
                quantize_level=0,
            )
            if hdu.name in wanted
            else hdu
            for hdu in hdus
        ]
        fits.HDUList(written).writeto(target, overwrite=True)
    return target


def arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Return the images of a file by extension name, as astropy reads them."""
    with fits.open(path, memmap=False) as hdus:
        return {
            hdu.name: np.array(hdu.data)
            for hdu in hdus[1:]
            if hdu.is_image and hdu.data is not None
        }


def unit_bytes(path: Path, index: str | int | tuple[str, int]) -> bytes:
    """Return one unit, header and padded data, as it is in the file."""
    return b"".join(_unit(path, index))


def data_unit(path: Path, index: str | int | tuple[str, int]) -> bytes:
    """Return the padded data of one unit as they are in the file."""
    return _unit(path, index)[1]


def _unit(path: Path, index: str | int | tuple[str, int]) -> tuple[bytes, bytes]:
    with fits.open(path, disable_image_compression=True) as hdus:
        info = hdus[index].fileinfo()
    with path.open("rb") as file:
        file.seek(info["hdrLoc"])
        return file.read(info["datLoc"] - info["hdrLoc"]), file.read(info["datSpan"])


def failing(
    number: int, real: Any = None, when: Callable[..., bool] = lambda *_, **__: True
) -> Any:
    """Return a call of the system that fails: always, or `when` its arguments say so."""

    def call(*arguments: Any, **options: Any) -> Any:
        if when(*arguments, **options):
            names = [str(name) for name in arguments[:1] if isinstance(name, str | Path)]
            raise OSError(number, os.strerror(number), *names)
        return real(*arguments, **options)

    return call


def folder_state(folder: Path) -> dict[str, str]:
    """Return every entry below a folder, hidden ones too, with a digest of its content."""
    state = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            content = f"link to {path.readlink()}"
        elif path.is_file():
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            content = "folder" if path.is_dir() else "special"
        state[str(path.relative_to(folder))] = content
    return state


@dataclass(frozen=True)
class Outcome:
    """What the command line did."""

    code: int
    out: str
    err: str


def invoke(*arguments: object, code: int | None = None) -> Outcome:
    """Run the command line in this process; `code` is the exit status that it must have."""
    from tmt_dq.cli import main

    out, err = io.StringIO(), io.StringIO()
    status: object = None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as stop:
            status = stop.code
    assert status is None or isinstance(status, int)
    assert code in {None, status or 0}, err.getvalue()
    return Outcome(status or 0, out.getvalue(), err.getvalue())


def run_python(
    *arguments: object, timeout: float = 120, code: int | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run Python in a process of its own; `code` is the exit status that it must have."""
    command = [str(word) for word in (sys.executable, *arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, check=False, **options
    )
    assert code in {None, done.returncode}, done.stderr
    return done


def run_cli(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the installed command in a process of its own; options as in `run_python`."""
    return run_python(Path(sys.executable).with_name("tmt-dq"), *arguments, **options)
