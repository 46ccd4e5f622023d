"""The exceptions: classes, exit codes, messages, and their way across processes."""

import copy
import pickle

import pytest

from tmt_dq import errors

TABLE = [
    ("ConfigError", ValueError, 2),
    ("RampFormatError", ValueError, 3),
    ("UnexplainedFlagsError", ValueError, 3),
    ("AlreadyInitializedError", ValueError, 3),
    ("MaskFormatError", ValueError, 4),
    ("UnknownFlagError", KeyError, 4),
    ("GeometryError", ValueError, 5),
    ("SelectionError", LookupError, 6),
    ("NoMatchError", LookupError, 6),
    ("CertificationError", ValueError, 7),
    ("DeliveryError", RuntimeError, 8),
    ("BatchError", ExceptionGroup, 9),
    ("WorkerError", RuntimeError, 9),
    ("OutputError", OSError, 10),
    ("RemoteError", OSError, 11),
]
ONES = [name for name, _, _ in TABLE if name != "BatchError"]


@pytest.mark.contract
@pytest.mark.parametrize(("name", "builtin", "code"), TABLE)
def test_class_builtin_base_and_exit_code(name: str, builtin: type, code: int) -> None:
    kind = getattr(errors, name)
    assert issubclass(kind, builtin)
    assert kind.exit_code == code


def test_table_is_complete() -> None:
    assert sorted(errors.__all__) == sorted(["TmtDqError", *(name for name, _, _ in TABLE)])
    assert issubclass(errors.UnknownFlagError, errors.MaskFormatError)
    assert issubclass(errors.NoMatchError, errors.SelectionError)


@pytest.mark.parametrize("name", ONES)
def test_message_has_place_finding_and_remedy(name: str) -> None:
    error = getattr(errors, name)("found 1\nexpected 2", where="a.fits", hint="Do this.")
    assert str(error) == "a.fits: found 1\nexpected 2\nDo this."
    assert (error.what, error.where, error.hint) == ("found 1\nexpected 2", "a.fits", "Do this.")
    assert str(getattr(errors, name)("only this")) == "only this"


@pytest.mark.parametrize("name", ONES)
@pytest.mark.parametrize("hint", [None, "Do this."])
def test_pickle_and_copy_keep_everything(name: str, hint: str | None) -> None:
    error = getattr(errors, name)("what", where="a.fits", hint=hint)
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(other) is type(error)
        assert str(other) == str(error)
        assert (other.what, other.where, other.hint) == ("what", "a.fits", hint)


def test_batch_error_holds_the_errors_and_crosses_processes() -> None:
    one, two = errors.GeometryError("a", where="1.fits"), errors.OutputError("b", where="2.fits")
    batch = pickle.loads(pickle.dumps(errors.BatchError("2 of 3 failed", [one, two])))
    assert isinstance(batch, errors.BatchError)
    assert batch.message == "2 of 3 failed"
    assert [str(error) for error in batch.exceptions] == ["1.fits: a", "2.fits: b"]
    geometry, rest = batch.split(errors.GeometryError)
    assert isinstance(geometry, errors.BatchError)
    assert isinstance(rest, errors.BatchError)
    assert len(geometry.exceptions) == len(rest.exceptions) == 1


def test_options_of_a_hint_have_the_names_of_the_face() -> None:
    error = errors.ConfigError("no flag", where="a.txt", hint="Give it.", options=("flag", "base"))
    assert str(error) == "a.txt: no flag\nGive it (flag=…, base=…)."
    assert error.advice(["--user-flag NAME"]) == "Give it (--user-flag NAME)."
    again = pickle.loads(pickle.dumps(error))
    assert (again.options, str(again)) == (error.options, str(error))
