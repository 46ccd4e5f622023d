"""The table of the convention, which is made without astropy's tables, as astropy reads it."""

import io

import numpy as np
from astropy.io import fits

from builders import CONVENTION
from tmt_dq.core.dq_def import convention_rows
from tmt_dq.io.cards import primary_header
from tmt_dq.io.checksums import sign, sum_bytes
from tmt_dq.io.layout import padded
from tmt_dq.io.tables import convention_unit


def _written() -> fits.HDUList:
    header, data = convention_unit()
    whole = data + bytes(padded(len(data)) - len(data))
    primary = sign(primary_header(), 0)
    content = primary + sign(header, sum_bytes(whole)) + whole
    return fits.open(io.BytesIO(content), checksum=True)  # a wrong sum would be a warning


def test_it_names_every_bit_of_the_convention() -> None:
    with _written() as hdus:
        table = hdus["DQ_DEF"].data
        found = dict(zip(table["NAME"], map(int, table["VALUE"]), strict=True))
        assert found == {name: value for name, value in CONVENTION.items() if name != "GOOD"}
        assert [1 << int(bit) for bit in table["BIT"]] == list(found.values())
        assert all(table["DESCRIPTION"])


def test_it_is_what_astropy_writes() -> None:
    expected = fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU(convention_rows(), name="DQ_DEF")])
    for hdu in expected:
        hdu.add_checksum()
    ignored = ["CHECKSUM", "DATASUM"]  # they have the time in their comments
    with _written() as hdus:
        difference = fits.FITSDiff(hdus, expected, ignore_keywords=ignored)
        assert difference.identical, difference.report()
        for name in ("BIT", "VALUE"):
            np.testing.assert_array_equal(hdus["DQ_DEF"].data[name], expected["DQ_DEF"].data[name])
