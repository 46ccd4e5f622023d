"""The schemas: keywords where the facts say they are, found by asdf without a heavy import."""

import subprocess
import sys
from typing import Any

import asdf
import pytest
from asdf.schema import check_schema, load_schema

from tmt_dq.datamodels import TMTDataModel, TMTMaskModel, TMTRampModel
from tmt_dq.datamodels.schema_resources import PREFIX, get_resource_mappings

CORE = {
    "TELESCOP": "meta.telescope",
    "INSTRUME": "meta.instrument.name",
    "DETECTOR": "meta.instrument.detector",
    "FILTER": "meta.instrument.filter",
    "DATE-OBS": "meta.observation.date",
    "TIME-OBS": "meta.observation.time",
    "EXP_TYPE": "meta.exposure.type",
    "NINTS": "meta.exposure.nints",
    "NGROUPS": "meta.exposure.ngroups",
    "READPATT": "meta.exposure.readpatt",
    "SUBARRAY": "meta.subarray.name",
    "SUBARRID": "meta.subarray.id",
    "SUBSTRT1": "meta.subarray.xstart",
    "SUBSTRT2": "meta.subarray.ystart",
    "SUBSIZE1": "meta.subarray.xsize",
    "SUBSIZE2": "meta.subarray.ysize",
    "FASTAXIS": "meta.subarray.fastaxis",
    "SLOWAXIS": "meta.subarray.slowaxis",
    "DETXSIZE": "meta.subarray.detxsize",
    "DETYSIZE": "meta.subarray.detysize",
    "S_DQINIT": "meta.cal_step.dq_init",
    "R_MASK": "meta.ref_file.mask.name",
    "CRDS_VER": "meta.ref_file.crds.sw_version",
    "CRDS_CTX": "meta.ref_file.crds.context_used",
    "CAL_VER": "meta.calibration_software_version",
    "FILENAME": "meta.filename",
    "DATE": "meta.date",
    "DATAMODL": "meta.model_type",
    "ORIGIN": "meta.origin",
}
REFERENCE = {
    "REFTYPE": "meta.reftype",
    "USEAFTER": "meta.useafter",
    "PEDIGREE": "meta.pedigree",
    "AUTHOR": "meta.author",
    "DESCRIP": "meta.description",
}


@pytest.mark.parametrize(
    ("model", "keywords"),
    [(TMTDataModel, CORE), (TMTRampModel, CORE), (TMTMaskModel, CORE | REFERENCE)],
)
def test_keywords_have_one_place_each(model: Any, keywords: Any) -> None:
    with model() as opened:
        for keyword, place in keywords.items():
            assert opened.find_fits_keyword(keyword) == [place]


def test_the_tree_up_to_a_mask_name_has_jwsts_places() -> None:
    """The peer: tools that read JWST's metadata find ours at the same places."""
    from stdatamodels.jwst.datamodels import RampModel

    with RampModel() as peer:
        for keyword, place in CORE.items():
            if keyword not in {"SUBARRID", "DETXSIZE", "DETYSIZE"}:  # TMT's own
                assert place in peer.find_fits_keyword(keyword)


@pytest.mark.parametrize("uri", sorted(get_resource_mappings()[0]))
def test_schemas_are_valid_and_known_to_asdf(uri: Any) -> None:
    assert uri.startswith(PREFIX)
    schema = load_schema(uri, resolve_references=True)
    check_schema(schema)
    assert schema["id"] == uri
    assert uri in asdf.get_config().resource_manager


def test_finding_the_schemas_costs_other_users_of_asdf_nothing() -> None:
    code = (
        "import sys, tmt_dq.datamodels.schema_resources\n"
        "print([name for name in ('asdf', 'astropy', 'numpy', 'stdatamodels') "
        "if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
