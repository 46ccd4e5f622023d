"""Rules of a second observatory, of the published form: selection and all that changes masks."""

import json
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from builders import CONVENTION, arrays, invoke, make_mask, make_ramp, run_cli
from delivery_helpers import deliverable
from reference_helpers import ONE_RULE, write_rules
from tmt_dq import (
    affected,
    apply_dq,
    certify_mask,
    combine_masks,
    deliver_mask,
    mask_history,
    rollback,
    run_batch,
    select_mask,
)
from tmt_dq.batch.run import serial
from tmt_dq.errors import ConfigError, RampFormatError

BOTH = ("tmt", "ligeriri")


def _write_ligeriri(cache: Path, instrument: str, detector: str, **others: str) -> Path:
    rules = {(detector, "GENERIC"): {"2015-10-01 00:00:00": f"{instrument}_DQ.fits"}}
    parkey = (("META.INSTRUMENT.DETECTOR", "META.SUBARRAY.NAME"), ("META.DATE",))
    return write_rules(
        cache, "ligeriri", instrument, rules, reftype="dq", parkey=parkey, others=others
    )


def _leave(cache: Path, observatories: tuple[str, ...]) -> None:
    for name in set(BOTH) - set(observatories):
        (cache / "mappings" / name).rename(cache / name)


@pytest.fixture
def both(folder: Path) -> Path:
    """Rules of both observatories of IRIS, of the published form, with a mask of each."""
    cache = folder / "cache"
    for references, name, detector, flag in (
        (write_rules(cache, "tmt", "IRIS", ONE_RULE), "tmt_iris_mask_0001.fits", "IRIS1", "HOT"),
        (_write_ligeriri(cache, "IRIS", "IMG1"), *("IRIS_DQ.fits", "IMG1", "DEAD")),
    ):
        dq = np.full((6, 8), CONVENTION[flag], np.uint32)
        make_mask(references / name, dq, header={"DETECTOR": detector})
    return cache


@pytest.mark.parametrize("detector", ["IRIS1", "IMG1"])
@pytest.mark.parametrize(
    ("folders", "context", "flag"),
    [
        (("tmt", "ligeriri"), None, "HOT"),
        (("tmt", "ligeriri"), "ligeriri_0001.pmap", "DEAD"),
        (("tmt", "ligeriri"), "tmt_0001.pmap", "HOT"),
        (("ligeriri",), None, "DEAD"),
        (("tmt",), "latest", "HOT"),
    ],
)
def test_the_rules_of_the_cache_decide(
    folder: Path,
    both: Path,
    folders: tuple[str, ...],
    context: str | None,
    flag: str,
    detector: str,
) -> None:
    _leave(both, folders)
    ramp = make_ramp(folder / "ramp.fits", header={"DETECTOR": detector})
    applied = apply_dq(ramp, crds_path=both, context=context)
    expected = np.full((6, 8), CONVENTION[flag], np.uint32)
    np.testing.assert_array_equal(arrays(applied.output)["PIXELDQ"], expected)
    selection = select_mask(ramp, crds_path=both, context=context)
    own = {"HOT": ("tmt", "mask"), "DEAD": ("ligeriri", "dq")}[flag]
    assert (selection.observatory, selection.reftype) == own
    assert fits.getval(applied.output, "CRDS_CTX") == f"{own[0]}_0001.pmap"
    assert selection.rules[-1].found == "2026-05-01 10:11:12.345"
    found = invoke("explain", applied.output, "--pixel", "1,1", "--crds-path", both)
    assert (found.code, flag in found.out) == (0, True), found.err


def test_a_batch_is_done_again_where_other_rules_choose(folder: Path, both: Path) -> None:
    ramp = make_ramp(folder / "ramp.fits")
    for context, chosen in (
        *(("ligeriri-latest", "IRIS_DQ.fits"), (None, "tmt_iris_mask_0001.fits")),
        *((None, None), ("ligeriri_0001.pmap", "IRIS_DQ.fits")),
    ):
        result = run_batch(
            ramp, output_dir=folder / "out", crds_path=both, context=context, mapper=serial
        )
        (mask,) = result.masks or (None,)
        assert mask == (chosen and f"crds://{chosen}")


def test_an_exposure_without_the_date_of_its_rules(folder: Path, both: Path) -> None:
    ramp = make_ramp(folder / "ramp.fits", header={"DATE-OBS": None})
    with pytest.raises(RampFormatError, match="DATE-OBS is missing"):
        apply_dq(ramp, crds_path=both, context="ligeriri_0001.pmap")


@pytest.mark.parametrize(
    ("folders", "context", "instrument", "names", "expected"),
    [
        (BOTH, None, "IRIS", ("IRIS1", "IMG1"), ("tmt", "mask", "IRIS1")),
        (BOTH, "ligeriri-latest", "IRIS", ("IRIS1", "IMG1"), ("ligeriri", "dq", "IMG1")),
        (("ligeriri",), None, "IRIS", ("IMG1", "IRIS1"), ("ligeriri", "dq", "IMG1")),
        (("ligeriri",), None, "Liger", ("IMG", "IMG"), ("ligeriri", "dq", "IMG")),
    ],
)
def test_a_mask_lives_by_the_rules_of_the_cache(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    folders: tuple[str, ...],
    context: str | None,
    instrument: str,
    names: tuple[str, str],
    expected: tuple[str, str, str],
) -> None:
    cache = folder / "cache"
    tmt = {("IRIS1", "GENERIC"): {"2015-10-01 00:00:00": "IRIS_DQ.fits"}}
    # Liger as Keck's telescope, in the letters of its description.
    telescope = {"IRIS": "TMT", "Liger": "Keck-I"}[instrument]
    own = {"INSTRUME": instrument, "TELESCOP": telescope, "DETECTOR": names[0]}
    flags = np.zeros((6, 8), np.uint32)
    for references in (
        write_rules(cache, "tmt", "IRIS", tmt),
        _write_ligeriri(cache, instrument, names[0] if instrument == "Liger" else "IMG1"),
    ):
        deliverable(references / f"{instrument}_DQ.fits", flags, header=own, useafter=None)
    _leave(cache, folders)
    if context:
        monkeypatch.setenv("CRDS_CONTEXT", context)
    observatory, reftype, detector = expected
    before, after = (f"{observatory}_000{number}.pmap" for number in (1, 2))
    stem = f"{observatory}_{instrument.lower()}_{reftype}"
    ramp = make_ramp(folder / "ramp.fits", start=(101, 201), header={**own, "DETECTOR": names[1]})

    # IRIS' masks may have the type of either observatory; a delivery writes that of the rules.
    written = {"mask": "DQ", "dq": "MASK"}[reftype] if instrument == "IRIS" else "DQ"
    mask = deliverable(folder / "mask.fits", header={**own, "REFTYPE": written})
    remark = f"REFTYPE: is {written}, another name of {reftype.upper()}, which a delivery writes"
    warned = any(remark in text for text in certify_mask(mask, crds_path=cache).warnings)
    assert warned == (instrument == "IRIS")
    receipt = deliver_mask(mask, cache=cache, yes=True)
    assert (receipt.mask, receipt.context) == (f"{stem}_0001.fits", after)
    assert (receipt.observatory, receipt.detector) == (observatory, detector)
    selected = select_mask(ramp, crds_path=cache)
    assert selected.path is not None
    assert (selected.name, selected.context) == (receipt.mask, after)
    assert fits.getval(selected.path, "REFTYPE") == reftype.upper()
    assert fits.getval(selected.path, "DETECTOR") == detector

    (effect,) = affected(before, "latest", [ramp], crds_path=cache)
    assert (effect.old, effect.new, effect.pixels) == (f"{instrument}_DQ.fits", receipt.mask, 1)
    history = mask_history(names[1], instrument=instrument, crds_path=cache, candidate=mask)
    assert [found.name for found in history.masks[:-1]] == [effect.old, effect.new]
    assert (history.context, history.due) == (after, False)
    found = json.loads(invoke("doctor", "--crds-path", cache, "--json").out)
    assert (after in found["rules"]["context"], found["errors"]) == (True, [])
    variables = {"CRDS_PATH": str(cache)} | ({"CRDS_CONTEXT": context} if context else {})
    tool = run_cli("crds", "list", "--references", env=variables)
    assert receipt.mask in tool.stdout, tool.stderr

    made = combine_masks([selected.path], folder / "combined.fits", useafter="2026-06-01")
    assert made.counts["HOT"] == 1
    assert rollback(receipt).rolled_back is not None
    assert select_mask(ramp, crds_path=cache).name == f"{instrument}_DQ.fits"


def test_a_declared_context_of_other_rules(folder: Path) -> None:
    """The published cache declares a context that it does not have, and lacks Liger's rules."""
    _write_ligeriri(folder, "IRIS", "IMG1", Liger="ligeriri_liger_0001.imap")
    found = json.loads(invoke("doctor", "--crds-path", folder, "--json").out)
    assert (found["errors"], len(found["remarks"])) == ([], 1)
    assert "ligeriri_liger_0001.imap: the rules refer to this file" in found["remarks"][0]
    (folder / "config/ligeriri").mkdir(parents=True)
    (folder / "config/ligeriri/server_config").write_text(
        "{'observatory': 'ligeriri', 'operational_context': 'iris_liger_0001.pmap'}"
    )
    ramp = make_ramp(folder / "ramp.fits")
    with pytest.raises(ConfigError, match=r"server_config: 'iris_\w+\.pmap' is not a"):
        select_mask(ramp, crds_path=folder)
