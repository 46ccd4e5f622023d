"""Numbers and tables of results, as text."""

import pytest

from tmt_dq.tables import Table, as_lines, flag_table, number, share


@pytest.mark.parametrize(
    ("fraction", "shown"),
    [
        (0, "0.000 %"),
        (1 / 4096**2, "<0.001 %"),
        (0.000004, "<0.001 %"),
        (0.00001, "0.001 %"),
        (0.5, "50.000 %"),
        (1 - 1 / 4096**2, ">99.999 %"),
        (1, "100.000 %"),
    ],
)
def test_shares(fraction: float, shown: str) -> None:
    assert share(fraction) == shown


def test_columns_and_thousands() -> None:
    assert (number(999), number(16777216)) == ("999", "16,777,216")
    table = flag_table({"GOOD": 1999, "HOT": 1}, 2000, {"gained": {"HOT": "+1"}})
    assert as_lines(table) == [
        "flag  pixels     share  gained",
        "GOOD   1,999  99.950 %",
        "HOT        1   0.050 %      +1",
    ]
    assert flag_table({"GOOD": 0}, 0).rows == (("GOOD", "0", ""),)
    table = Table("", ("name", "n"), (("a", "1,000"), ("longer", "2")), (1,))
    assert as_lines(table) == ["name        n", "a       1,000", "longer      2"]
