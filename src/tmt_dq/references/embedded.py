"""The CRDS cache that comes with the package, used when no other is named.

It holds rules for IRIS and, for each detector, a baseline mask: the border of reference pixels and
nothing else. Its contexts are numbered from 0100, out of the way of TMT's published ones. The rules
and the sums of the masks are shipped; each mask, 67 MB, is made when the rules first select it, in
the user's cache folder. The folder's name is made from the content, so versions do not mix.
"""

import functools
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tmt_dq import instruments
from tmt_dq.core import flags
from tmt_dq.core.geometry import Window
from tmt_dq.errors import ConfigError, OutputError
from tmt_dq.files.atomic import write_file
from tmt_dq.fits.checksums import sign, sum_bytes
from tmt_dq.fits.encoding import encode_unsigned
from tmt_dq.fits.headers import image_header, primary_header
from tmt_dq.fits.layout import padded
from tmt_dq.references import checksums

DATA = Path(__file__).parent / "data"
"""What is shipped: the cache without its masks, whose sums are in SHA256SUMS."""

_REFERENCES = Path("references/tmt")
_FIRST = 101
"""Number of the first detector's mask; the others follow."""

_MADE = "2026-01-01T00:00:00"
_FOLDER_HINT = "Set TMT_DQ_CACHE_DIR to a folder that can be written, or name a cache of your own."


@functools.cache
def _shipped() -> Mapping[Path, bytes]:
    """Return the files that are shipped, by their paths in the cache."""
    paths = sorted(path for path in DATA.rglob("*") if path.is_file())
    return {path.relative_to(DATA): path.read_bytes() for path in paths}


@functools.cache
def _version() -> str:
    """Return a name that changes with the content."""
    listing = [(str(path), content) for path, content in _shipped().items()]
    return hashlib.sha256(repr(listing).encode()).hexdigest()[:12]


@functools.cache
def _masks() -> Mapping[str, tuple[Path, str]]:
    """Return the path in the cache, and the sha256, of each mask, by name."""
    entries = checksums.entries(DATA / _REFERENCES).items()
    return {Path(path).name: (_REFERENCES / path, sha256) for path, sha256 in entries}


def user_folder() -> Path:
    """Return the folder for what can be made again: TMT_DQ_CACHE_DIR, or in the user's caches."""
    base = os.environ.get("TMT_DQ_CACHE_DIR")
    if not base:
        import platformdirs

        base = platformdirs.user_cache_dir("tmt-dq")
    if not os.path.isabs(base):  # noqa: PTH117 (it may start with an unexpanded ~)
        raise ConfigError(
            f"the cache folder {base!r} is not an absolute path",
            where="TMT_DQ_CACHE_DIR",
            hint=_FOLDER_HINT,
        )
    return Path(base)


def location() -> Path:
    """Return where the cache is, or will be: ``crds/<version>`` in the user's cache folder."""
    return user_folder() / "crds" / _version()


def cache_path() -> Path:
    """Return the cache, a folder to be used as CRDS_PATH: its rules are there, masks as needed."""
    root = location()
    _write_rules(root)
    return root


def is_here(root: Path) -> bool:
    """Return whether a folder is the embedded cache."""
    return root.name == _version() and root == location()


def provides(name: str) -> bool:
    """Return whether the cache has a mask of this name."""
    return name in _masks()


def ensure(name: str, root: Path | None = None) -> Path:
    """Return the path of a mask that the cache `provides`, making it if it is not there."""
    path, sha256 = _masks()[name]
    instrument = instruments.load_own(path.parent.name)
    detector = list(instrument.detectors.values())[int(path.stem[-4:]) - _FIRST]
    rows, columns = detector.shape
    target = (root or location()) / path
    if not _has_size(target, 2 * padded(1) + padded(4 * rows * columns)):
        content = _mask(instrument, detector, name)
        found = hashlib.sha256(content).hexdigest()
        if found != sha256:
            raise OutputError(
                f"the mask was not made as expected: its sha256 is {found}, it must be {sha256}",
                where=target,
                hint="Install tmt-dq again. If this does not help, report it as a bug.",
            )
        _write(target, content)
    return target


def write_copy(root: Path) -> None:
    """Write the whole cache, rules and masks, into an empty folder."""
    _write_rules(root)
    for name in _masks():
        ensure(name, root)


def _write_rules(root: Path) -> None:
    for path, content in _shipped().items():
        if not _has_size(root / path, len(content)):
            _write(root / path, content)


def _has_size(path: Path, size: int) -> bool:
    """Return whether a file is there, whole."""
    try:
        return path.stat().st_size == size
    except OSError:
        return False


def _write(target: Path, content: bytes) -> None:
    """Write a file; two processes may do so at once, each gives its own, complete, the name."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_file(target, content, overwrite=True)
    except OSError as error:
        found = error.what if isinstance(error, OutputError) else error.strerror or error
        raise OutputError(
            f"the rules and masks that come with tmt-dq cannot be written here: {found}",
            where=target.parent,
            hint=_FOLDER_HINT,
        ) from error


def _mask(instrument: instruments.Instrument, detector: instruments.Detector, name: str) -> bytes:
    """Return a baseline mask as a FITS file, the same bytes at every call.

    The bytes are those of the masks that are in use, dates and comments included.
    """
    rows, columns = detector.shape
    frame = Window.full(rows, columns)
    dq = np.full((rows, columns), flags.PIXEL["REFERENCE_PIXEL"], np.uint32)
    dq[frame.without(detector.reference_border).slices(frame)] = 0
    header = primary_header()
    for keyword, value, comment in (
        ("DATE", _MADE, "date of the file"),
        ("ORIGIN", "tmt-dq", "the package that made the file"),
        ("FILENAME", name, "name of the file"),
        ("DATAMODL", "TMTMaskModel", "type of data model"),
        ("TELESCOP", instrument.telescope, "telescope"),
        ("INSTRUME", instrument.name, "instrument"),
        ("DETECTOR", detector.name, "detector"),
        ("REFTYPE", instrument.reftype.upper(), "type of reference file"),
        ("PEDIGREE", "DUMMY", "origin of the values"),
        ("USEAFTER", "2015-01-01T00:00:00", "start of validity"),
        ("AUTHOR", "The tmt-dq developers", "author"),
        ("DESCRIP", "Baseline mask: the border of reference pixels", "description"),
        ("SUBARRAY", "GENERIC", "the subarrays it serves"),
        ("SUBSTRT1", 1, "1-based start in x"),
        ("SUBSTRT2", 1, "1-based start in y"),
        ("SUBSIZE1", columns, "size in x"),
        ("SUBSIZE2", rows, "size in y"),
    ):
        header[keyword] = (value, comment)
    header.add_history(
        f"REFERENCE_PIXEL in the outermost {detector.reference_border.describe()} rows and "
        "columns, made by tmt-dq."
    )
    header.add_history("No measurement went into it: it knows no bad pixels.")
    data = encode_unsigned(dq).data.cast("B")
    head = sign(header, 0, comment=f"made {_MADE}")
    unit = sign(image_header("DQ", 32, dq.shape), sum_bytes(data), comment=f"made {_MADE}")
    return b"".join((head, unit, data, bytes(padded(len(data)) - len(data))))
