"""The flag convention: every literal bit, names to values and back, counting."""

import pickle
from importlib.metadata import version

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from builders import CONVENTION
from tmt_dq import dqflags
from tmt_dq.errors import UnknownFlagError

GROUP = {
    "GOOD": 0,
    "DO_NOT_USE": 1,
    "SATURATED": 2,
    "JUMP_DET": 4,
    "DROPOUT": 8,
    "PERSISTENCE": 32,
    "AD_FLOOR": 64,
    "CHARGELOSS": 128,
}

values = st.integers(0, 2**32 - 1)


def test_every_flag_has_its_literal_value_and_type() -> None:
    assert dict(dqflags.pixel) == CONVENTION
    assert list(dqflags.pixel) == list(CONVENTION)
    assert dict(dqflags.group) == GROUP
    assert list(dqflags.group) == list(GROUP)
    assert dqflags.pixel.dtype == np.uint32
    assert dqflags.group.dtype == np.uint8
    assert dqflags.pixel.mask == 2**32 - 1
    assert dqflags.group.mask == 1 + 2 + 4 + 8 + 32 + 64 + 128


def test_convention_is_that_of_jwst() -> None:
    jwst = pytest.importorskip("stdatamodels.jwst.datamodels.dqflags")
    pixel = {"RESERVED" if k == "UNRELIABLE_ERROR" else k: v for k, v in jwst.pixel.items()}
    assert dict(dqflags.pixel) == pixel
    group = dict(jwst.group)
    if int(version("stdatamodels").partition(".")[0]) < 6:
        group["PERSISTENCE"] = pixel["PERSISTENCE"]  # 6.0 gave it to groups too
    assert dict(dqflags.group) == group


def test_descriptions_and_old_names() -> None:
    descriptions = [dqflags.pixel.describe(name) for name in dqflags.pixel]
    assert all(descriptions)
    assert len(set(descriptions)) == len(CONVENTION)
    assert "RC" in dqflags.pixel.describe("rc")
    assert dqflags.pixel["UNRELIABLE_ERROR"] == 256
    assert "UNRELIABLE_ERROR" in dqflags.pixel
    assert "UNRELIABLE_ERROR" not in list(dqflags.pixel)
    assert dqflags.pixel.decode(256) == ("RESERVED",)


@pytest.mark.parametrize("name", ["HOT", "hot", " Hot "])
def test_names_are_found_in_any_case(name: str) -> None:
    assert dqflags.pixel[name] == 2048
    assert name in dqflags.pixel


def test_unknown_name_is_a_key_error_that_shows_near_names() -> None:
    with pytest.raises(UnknownFlagError, match=r"'DO_NOT_USEE' is not a flag of PIXELDQ") as caught:
        dqflags.pixel["DO_NOT_USEE"]
    assert isinstance(caught.value, KeyError)
    assert "Did you mean DO_NOT_USE" in str(caught.value)
    with pytest.raises(KeyError, match="The flags are GOOD, DO_NOT_USE"):
        dqflags.pixel["1234567"]
    with pytest.raises(KeyError, match="GROUPDQ"):
        dqflags.group["HOT"]
    assert dqflags.pixel.get("NO_SUCH_FLAG") is None
    assert "NO_SUCH_FLAG" not in dqflags.pixel
    assert 1024 not in dqflags.pixel  # type: ignore[comparison-overlap]


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (0, ()),
        (1, ("DO_NOT_USE",)),
        (1025, ("DO_NOT_USE", "DEAD")),
        (2049, ("DO_NOT_USE", "HOT")),
        (2**31, ("REFERENCE_PIXEL",)),
        (2**32 - 1, tuple(CONVENTION)[1:]),
    ],
)
def test_decode(value: int, names: tuple[str, ...]) -> None:
    assert dqflags.pixel.decode(value) == names
    assert dqflags.pixel.decode(np.uint32(value)) == names


@pytest.mark.parametrize("value", [-1, 2**32, 2**40 + 1])
def test_decode_refuses_what_no_flag_means(value: int) -> None:
    with pytest.raises(UnknownFlagError, match=str(value)):
        dqflags.pixel.decode(value)


@pytest.mark.parametrize(
    ("names", "value"),
    [
        ("DO_NOT_USE, HOT", 2049),
        ("DO_NOT_USE|DEAD", 1025),
        ("hot dead", 3072),
        (["HOT", "HOT"], 2048),
        ("GOOD", 0),
        ("", 0),
        ([], 0),
        (("UNRELIABLE_ERROR",), 256),
    ],
)
def test_encode(names: object, value: int) -> None:
    assert dqflags.pixel.encode(names) == value  # type: ignore[arg-type]


@given(values)
def test_encode_undoes_decode(value: int) -> None:
    assert dqflags.pixel.encode(dqflags.pixel.decode(value)) == value


@given(hnp.arrays(np.uint32, hnp.array_shapes(max_dims=3, max_side=5, min_side=0), elements=values))
def test_count_against_one_comparison_a_flag(dq: np.ndarray) -> None:
    expected = {
        name: int(((dq & np.uint32(value)) != 0).sum())
        for name, value in CONVENTION.items()
        if name != "GOOD"
    }
    expected = {name: number for name, number in expected.items() if number}
    assert dqflags.pixel.count(dq) == {"GOOD": int((dq == 0).sum())} | expected


def test_count_of_groups_and_tables_in_short() -> None:
    assert dqflags.group.count(np.array([[0, 1], [3, 128]], np.uint8)) == {
        "GOOD": 1,
        "DO_NOT_USE": 2,
        "SATURATED": 1,
        "CHARGELOSS": 1,
    }
    with pytest.raises(UnknownFlagError):
        dqflags.group.count(np.array([16], np.uint8))
    assert repr(dqflags.pixel) == "<FlagTable PIXELDQ: 32 flags>"
    assert dict(pickle.loads(pickle.dumps(dqflags.pixel))) == CONVENTION
