"""Stand-ins for data files made elsewhere: rules, maps, a list and a ramp of the published forms.

Where the files themselves are present (TMT_DQ_SHARED_DATA), the tests run on them instead.
"""

import atexit
import functools
import io
import shutil
import tempfile
from pathlib import Path
from typing import Any

import asdf
import numpy as np
from astropy.io import fits

import builders
import reference_helpers

_DATES = ("META.OBSERVATION.DATE", "META.OBSERVATION.TIME")
_DETECTOR = "META.INSTRUMENT.DETECTOR"
_OPTICS = (_DETECTOR, "META.INSTRUMENT.FILTER", "META.INSTRUMENT.PUPIL")

_RMAPS: dict[str, tuple[str, tuple[str, ...], Any]] = {
    "mask_0001": ("MASK", (_DETECTOR, "META.SUBARRAY.NAME"), ("IRIS1", "GENERIC")),
    "flat_0003": ("FLAT", _OPTICS, ("IRIS1", "K", "CLEAR")),
    "dark_0001": ("DARK", (_DETECTOR,), "IRIS1"),
    "drizpars_0001": ("DRIZPARS", (_DETECTOR,), "IRIS1"),
    "nonlin_0004": ("NONLINCOEFF", (_DETECTOR,), "IRIS1"),
}
"""Type, keys and values of each."""


@functools.cache
def rules_folder() -> Path:
    """Return the folder of TMT's rules: the published ones, or such as they are."""
    published = builders.shared_data() / "tmt_mappings"
    return published if published.is_dir() else _made(_write_rules)


@functools.cache
def data_folder() -> Path:
    """Return the folder of all files."""
    published = builders.shared_data()
    return published if published.is_dir() else _made(_write_all)


def _made(write: Any) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="tmt-dq-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    write(folder)
    return folder


def _write_all(folder: Path) -> None:
    for name, write in (("tmt_mappings", _write_rules), ("masks", _write_masks)):
        (folder / name).mkdir()
        write(folder / name)
    _write_ramp(folder / "iris_readout_sample_ramp.fits")


def _write_rules(folder: Path) -> None:
    """Write rules as TMT does: the imap has the name of the first."""
    common = {"derived_from": "", "observatory": "TMT"}
    context = {**common, "mapping": "PIPELINE", "name": "tmt_0001.pmap", "ignore_checksum": True}
    context["parkey"] = ("META.INSTRUMENT.NAME",)
    selector = "{'IRIS' : 'tmt_iris_0003.imap'}"
    text = reference_helpers.mapping_text(context, selector)
    (folder / "tmt_0001.pmap").write_text(text)
    rows = [f"    '{kind}' : 'tmt_iris_{name}.rmap',\n" for name, (kind, *_) in _RMAPS.items()]
    imap = {**common, "instrument": "IRIS", "mapping": "INSTRUMENT", "parkey": ("REFTYPE",)}
    selector = f"{{\n    'DFLAT' : 'N/A',\n{''.join(rows)}}}"
    text = reference_helpers.mapping_text({**imap, "name": "tmt_iris_0001.imap"}, selector)
    (folder / "tmt_iris_0003.imap").write_text(text)
    for name, (kind, keys, values) in _RMAPS.items():
        changes: dict[str, Any] = {"filekind": kind, "parkey": (keys, _DATES)}
        if kind != "MASK":
            changes["substitutions"] = None
        rules = {values: {"2015-10-01 00:00:00": f"tmt_iris_{name}.fits"}}
        text = reference_helpers.rmap_text(rules, name=f"tmt_iris_{name}.rmap", **changes)
        (folder / f"tmt_iris_{name}.rmap").write_text(text)


def _write_masks(folder: Path) -> None:
    """Write maps as Keck's OSIRIS (0 = bad, 9 = good) and grizli (1 = bad), and a manual list."""
    random = np.random.default_rng(2)
    order = random.permutation(2048 * 2048)

    def write(name: str, values: Any) -> None:
        fits.PrimaryHDU(values.reshape(2048, 2048)).writeto(folder / name)

    osiris = np.full(order.size, 9, np.uint8)
    osiris[order[:9967]] = 0
    write("osiris_badpixelmask20170902_sigma15.fits.gz", osiris)
    grizli = np.zeros(order.size, np.int32)
    grizli[order[:170082]] = 1
    write("nrc_badpix_231206_NRCALONG.fits.gz", grizli)
    flags = random.choice(["HOT", "RC", "OPEN", "ADJ_OPEN", "LOW_QE"], 2545)
    rows = [
        f"{place % 2048} {place // 2048} {flag}\n"
        for place, flag in zip(order[:2545], flags, strict=True)
    ]
    head = "# Pixels to be added to the bad pixel mask.\n#\n# x y flag\n"
    (folder / "nircam_nrca1_manual_flags.txt").write_text(head + "".join(rows))


def _write_ramp(path: Path) -> None:
    """Write a ramp as the IRIS readout library does: flags, errors and ASDF, and no SUBARRAY."""
    shape = (1, 4, 10, 10)
    names = {"sci": np.float32, "pixeldq": np.uint32, "groupdq": np.uint8, "err": np.float32}
    arrays = {
        name: np.arange(400 if name == "sci" else 100, dtype=kind) * (name == "sci")
        if name in {"sci", "pixeldq"}
        else np.zeros(shape, kind)
        for name, kind in names.items()
    }
    nodes = "".join(
        f"{'data' if name == 'sci' else name}: !core/ndarray-1.0.0\n"
        f"  source: fits:{name.upper()},1\n  datatype: {np.dtype(kind).name}\n"
        f"  byteorder: big\n  shape: {[10, 10] if name == 'pixeldq' else list(shape)}\n"
        for name, kind in names.items()
    )
    start = io.BytesIO()
    asdf.AsdfFile({"meta": {"model_type": "TMTRampModel", "filename": path.name}}).write_to(start)
    tree = start.getvalue().replace(b"...\n", f"{nodes}...\n".encode())
    column = fits.Column(
        "ASDF_METADATA", f"{len(tree)}B", array=np.frombuffer(tree, np.uint8)[None]
    )
    builders.make_ramp(
        path,
        start=None,
        sci=arrays["sci"].reshape(shape),
        pixeldq=arrays["pixeldq"].reshape(10, 10),
        groupdq=arrays["groupdq"],
        header={
            "DATE-OBS": "2015-10-11",
            "TIME-OBS": "00:00:00",
            "EXP_TYPE": None,
            "DATAMODL": "TMTRampModel",
            "FILENAME": path.name,
        },
        extra=[
            fits.ImageHDU(arrays["err"], name="ERR"),
            fits.BinTableHDU.from_columns([column], name="ASDF"),
        ],
    )
