"""Caches to select references from."""

import hashlib
import pprint
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

PARKEY = (
    ("META.INSTRUMENT.DETECTOR", "META.SUBARRAY.NAME"),
    ("META.OBSERVATION.DATE", "META.OBSERVATION.TIME"),
)
CARDS = [f"{'SIMPLE':8}= {'T':>20}", f"{'BITPIX':8}= {8:>20}", f"{'NAXIS':8}= {0:>20}", "END"]
FITS = "".join(card.ljust(80) for card in CARDS).ljust(2880).encode()
"""The smallest FITS file."""

Rules = Mapping[Any, Mapping[str, str]]
ONE_RULE: Rules = {("IRIS1", "GENERIC"): {"2015-10-01 00:00:00": "tmt_iris_mask_0001.fits"}}


def exposure(**changes: object) -> dict[str, object]:
    """Return an exposure's keywords; a change to None removes one."""
    header: dict[str, object] = {
        "INSTRUME": "IRIS",
        "DETECTOR": "IRIS1",
        "SUBARRAY": "FULL",
        "DATE-OBS": "2026-05-01",
        "TIME-OBS": "10:11:12.345",
    }
    header |= {name.replace("_OBS", "-OBS"): value for name, value in changes.items()}
    return {name: value for name, value in header.items() if value is not None}


def mapping_text(header: Mapping[str, Any], selector: str, *, sha1sum: str | None = None) -> str:
    """Return a file of rules; its sum is right unless one is given."""
    body = pprint.pformat(dict(header), width=200)[1:-1]
    rest = f"header = {{\n{body},\n}}\n\nselector = {selector}\n"
    digest = sha1sum or hashlib.sha1(rest.encode()).hexdigest()
    return f"header = {{\n{body},\n'sha1sum' : '{digest}',\n}}\n\nselector = {selector}\n"


def rmap_text(
    rules: Rules | str = ONE_RULE, *, name: str = "tmt_iris_mask_0001.rmap", **changes: Any
) -> str:
    """Return an rmap; `changes` to its header, None to remove an entry."""
    if not isinstance(rules, str):
        rules = "".join(
            f"    {key!r} : UseAfter({{{body}}}),\n"
            for key, dates in rules.items()
            for body in ["".join(f"{date!r} : {file!r}, " for date, file in dates.items())]
        )
        rules = f"Match({{\n{rules}}})"
    header = {
        "classes": ("Match", "UseAfter"),
        "derived_from": "NONE",
        "filekind": "MASK",
        "instrument": "IRIS",
        "mapping": "REFERENCE",
        "name": name,
        "observatory": "TMT",
        "parkey": PARKEY,
        "substitutions": {"META.SUBARRAY.NAME": {"GENERIC": "N/A"}},
    } | changes
    return mapping_text({key: value for key, value in header.items() if value is not None}, rules)


def make_cache(
    root: Path,
    rmap: str | None = None,
    *,
    files: Iterable[str] = ("tmt_iris_mask_0001.fits",),
    flat: bool = False,
    contexts: Iterable[str] = ("tmt_0001.pmap",),
    pmap: str = "{'IRIS' : 'tmt_iris_0001.imap'}",
    imap: str = "{'MASK' : 'tmt_iris_mask_0001.rmap'}",
    config: str | None = None,
) -> Path:
    """Make a cache with one rmap, empty FITS files as references, and perhaps a server_config."""
    mappings = root / "mappings" / "tmt"
    references = root / "references" / "tmt" / ("" if flat else "iris")
    mappings.mkdir(parents=True)
    references.mkdir(parents=True)
    common = {"derived_from": "NONE", "observatory": "TMT"}
    for name in contexts:
        header = {**common, "mapping": "PIPELINE", "name": name}
        text = mapping_text({**header, "parkey": ("META.INSTRUMENT.NAME",)}, pmap)
        (mappings / name).write_text(text)
    name = "tmt_iris_0001.imap"
    header = {**common, "mapping": "INSTRUMENT", "name": name, "instrument": "IRIS"}
    (mappings / name).write_text(mapping_text({**header, "parkey": ("REFTYPE",)}, imap))
    (mappings / "tmt_iris_mask_0001.rmap").write_text(rmap or rmap_text())
    for file in files:
        (references / file).write_bytes(FITS)
    if config is not None:
        (root / "config/tmt").mkdir(parents=True)
        (root / "config/tmt/server_config").write_text(config)
    return root


def write_rules(
    cache: Path,
    observatory: str,
    instrument: str,
    rules: Rules,
    *,
    reftype: str = "mask",
    others: Mapping[str, str] | None = None,
    **header: Any,
) -> Path:
    """Write .pmap, .imap and .rmap of an instrument; return the folder for its references.

    `others` are the .imaps of other instruments.
    """
    mappings = cache / "mappings" / observatory
    mappings.mkdir(parents=True, exist_ok=True)
    own = f"{observatory}_{instrument.lower()}"
    pmap, imap, rmap = f"{observatory}_0001.pmap", f"{own}_0001.imap", f"{own}_{reftype}_0001.rmap"
    common = {"derived_from": "NONE", "observatory": observatory.upper()}
    for name, kind, parkey, selector in (
        (pmap, "PIPELINE", "META.INSTRUMENT.NAME", {instrument: imap, **(others or {})}),
        (imap, "INSTRUMENT", "REFTYPE", {reftype.upper(): rmap}),
    ):
        own_header = {**common, "mapping": kind, "name": name, "parkey": (parkey,)}
        own_header |= {"instrument": instrument.upper()} if kind == "INSTRUMENT" else {}
        (mappings / name).write_text(mapping_text(own_header, repr(selector)))
    own_header = {
        "instrument": instrument.upper(),
        "observatory": observatory.upper(),
        "filekind": reftype.upper(),
    }
    text = rmap_text(rules, name=rmap, **own_header, **header)
    (mappings / rmap).write_text(text)
    references = cache / "references" / observatory / instrument.lower()
    references.mkdir(parents=True)
    return references


def declare_context(cache: Path, observatory: str) -> None:
    """Write what stock crds needs to name a cache's context without a server."""
    context = f"{observatory}_0001.pmap"
    names = ("edit_context", "latest_context", "operational_context", "default_context")
    config: dict[str, object] = {
        **dict.fromkeys(names, context),
        "observatory": observatory,
        "bad_files": "",
        "bad_files_list": [],
        "crds_version": {"str": "14.0.3"},
        "force_remote_mode": False,
        "last_synced": "never",
        "server": "none",
    }
    (cache / "config" / observatory).mkdir(parents=True)
    (cache / "config" / observatory / "server_config").write_text(repr(config))


def published_cache(root: Path) -> Path:
    """Make a cache of TMT's published rules, with a stand-in for the mask they select."""
    from published_files import rules_folder

    shutil.copytree(rules_folder(), root / "mappings" / "tmt")
    references = root / "references" / "tmt" / "iris"
    references.mkdir(parents=True)
    (references / "tmt_iris_mask_0001.fits").write_bytes(FITS)
    return root
