"""Medians over exposures are NumPy's, to the last bit."""

import numpy as np
import pytest

from tmt_dq.calibration.medians import median, ranked


@pytest.mark.parametrize("count", [*range(1, 20), 33, 60, 64, 97])
def test_they_are_numpys(count: int) -> None:
    rng = np.random.default_rng(count)
    values = rng.normal(size=(count, 3, 4001)).astype(np.float32)
    values[:, 0] = values[:, 0].round()  # ties
    values[rng.integers(0, count), 1, :7] = np.nan
    values[0, 2, :5] = np.inf
    before = values.copy()
    np.testing.assert_array_equal(median(values), np.median(values, axis=0))
    known, order = values[:, :, 7:], np.sort(values, axis=0)[:, :, 7:]
    for place in {0, count // 3, count - 1}:
        np.testing.assert_array_equal(ranked(known, place)[0], order[place])
    np.testing.assert_array_equal(values, before)
