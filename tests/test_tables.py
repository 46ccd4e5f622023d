"""Tables that are read and made without astropy's, as astropy reads them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from builders import write_hdus
from tmt_dq.core.dq_def import DefinedBit
from tmt_dq.fits.file import open_input
from tmt_dq.fits.tables import read_columns, read_dq_def


def written_table(path: Path, columns: Any, kind: Any = fits.BinTableHDU) -> Path:
    hdus = [fits.PrimaryHDU(), kind.from_columns(columns, name="DQ_DEF")]
    return write_hdus(path, fits.HDUList(hdus))


def rows_of(path: Path) -> list[DefinedBit]:
    with open_input(path) as file:
        return read_dq_def(file, file.units[1])


NAMES = np.array(["HOT", "DEAD"])


def column(name: str, form: str, values: Any, **more: Any) -> fits.Column:
    return fits.Column(name, form, array=np.array(values), **more)


@pytest.mark.parametrize(
    "columns",
    [
        [column("BIT", "B", [0, 255]), column("VALUE", "B", [1, 200])],
        [
            column("BIT", "I", [0, -5]),
            column("VALUE", "I", np.array([1, 65535], np.uint16), bzero=2**15),
        ],
        [
            column("BIT", "J", [0, -5]),
            column("VALUE", "J", np.array([1, 2**32 - 1], np.uint32), bzero=2**31),
        ],
        [
            column("BIT", "K", [0, -5]),
            column("VALUE", "K", np.array([1, 2**64 - 1], np.uint64), bzero=2**63),
        ],
        [column("BIT", "B", np.array([0, -5], np.int8), bzero=-128), column("VALUE", "E", [1, 2])],
        [column("BIT", "I", [0, -1], null=-1), column("value", "D", [1, 2.5], disp="F5.1")],
        [column("BIT", "I", [0, 1]), column("VALUE", "J", [1, 2]), column("L", "L", [True, False])],
    ],
)
def test_numbers_of_any_type_are_those_that_astropy_reads(folder: Path, columns: Any) -> None:
    path = written_table(folder / "table.fits", [*columns, column("NAME", "8A", NAMES)])
    theirs = fits.getdata(path, 1)
    expected = [
        (theirs["BIT"][row].item(), theirs["VALUE"][row].item(), str(theirs["NAME"][row]))
        for row in range(2)
    ]
    assert [(row.bit, row.value, row.name) for row in rows_of(path)] == expected


def test_an_ascii_table(folder: Path) -> None:
    columns = [column("BIT", "I5", [0, 1]), column("VALUE", "I10", [1, 2])]
    columns.append(column("NAME", "A10", NAMES))
    path = written_table(folder / "table.fits", columns, fits.TableHDU)
    rows = rows_of(path)
    assert [(row.bit, row.value, row.name) for row in rows] == [(0, 1, "HOT"), (1, 2, "DEAD")]


@pytest.mark.parametrize("other", ["I", "L"])
def test_letters_that_are_not_ascii_are_escaped(folder: Path, other: str) -> None:
    said = np.array([b"5 \xb5m", b"plain"])
    columns = [column("BIT", "I", [0, 1]), column("VALUE", "J", [1, 2]), column("X", other, [0, 1])]
    columns += [column("NAME", "8A", NAMES), column("DESCRIPTION", "8A", said)]
    path = written_table(folder / "table.fits", columns)
    with open_input(path) as file:
        texts = read_columns(file, file.units[1], needed=("DESCRIPTION",))["DESCRIPTION"]
    assert texts.tolist() == ["5 \\xb5m", "plain"]
