"""USEAFTER as users write it: one strict form for import, combine, deliver and certify."""

import datetime as dt
from pathlib import Path

import pytest

from builders import invoke
from delivery_helpers import deliverable, small_cache
from tmt_dq.errors import ConfigError
from tmt_dq.masks.useafter import useafter_text


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-05-01", "2026-05-01T00:00:00"),
        ("2026-05-01T12:30:00", "2026-05-01T12:30:00"),
        (" 2026-05-01 12:30:00 ", "2026-05-01T12:30:00"),
        (dt.date(2026, 5, 1), "2026-05-01T00:00:00"),
        (dt.datetime(2026, 5, 1, 12, 30, tzinfo=dt.UTC), "2026-05-01T12:30:00"),
    ],
)
def test_accepted(value: str | dt.date, expected: str) -> None:
    assert useafter_text(value) == expected


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("2026-05-01T12:30:00+02:00", "time zone"),
        ("2026-05-01T12:30:00Z", "time zone"),
        ("2026-05-01T12:34:56.9", "fractions of a second"),
        (dt.datetime(2026, 5, 1, 0, 0, 0, 5, tzinfo=dt.UTC), "fractions of a second"),
        ("2026-05-01T12:30", "not in this form"),
        ("20260501", "not in this form"),
        ("2026-02-30", "not a date"),
        ("", "not a date"),
    ],
)
def test_refused(value: str | dt.date, problem: str) -> None:
    with pytest.raises(ConfigError, match=f"{problem}.* YYYY-MM-DDThh:mm:ss"):
        useafter_text(value)


def test_verbs_agree(folder: Path) -> None:
    """What one of them refuses, all refuse, with the same words."""
    mask = deliverable(folder / "mask.fits")
    root = small_cache(folder / "cache")
    pixels = folder / "bad.txt"
    pixels.write_text("104 203\n")
    new = ("-o", folder / "new.fits", "--useafter", "2026-05-01T12:34:56.9")
    for words in (
        ("import", pixels, "--detector", "IRIS1", "--base", "1", "--flag", "HOT", *new),
        ("combine", mask, *new),
        ("deliver", mask, "--crds-path", root, *new[2:]),
    ):
        outcome = invoke(*words, code=2)
        assert "has fractions of a second" in outcome.err
        assert "YYYY-MM-DDThh:mm:ss" in outcome.err
