"""Medians over exposures: a few values for each of very many pixels."""

import functools

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

_PIECE = 8192
"""Pixels at a time: their values stay in the cache of the processor."""


def median(values: Floats) -> Floats:
    """Return the median over the first axis, as `numpy.median` does."""
    low, high = (len(values) - 1) // 2, len(values) // 2
    result = ranked(values, low, high)
    middle: Floats = result[0] if low == high else (result[0] + result[1]) / np.float32(2)
    return middle


def ranked(values: Floats, *places: int) -> list[Floats]:
    """Return the values at these places of the sorted first axis.

    NumPy sorts the few values of each pixel by itself. Here all pixels are sorted together, by a
    network of comparisons (Batcher's odd-even merge sort; Knuth, TAOCP 3, 5.2.2, algorithm M).
    """
    flat = values.reshape(len(values), -1)
    found = [np.empty(flat.shape[1], values.dtype) for _ in places]
    for first in range(0, flat.shape[1], _PIECE):
        rows = list(flat[:, first : first + _PIECE].copy())
        spare = np.empty_like(rows[0])
        for low, high in _network(len(rows), places):
            np.minimum(rows[low], rows[high], out=spare)
            np.maximum(rows[low], rows[high], out=rows[high])
            rows[low], spare = spare, rows[low]
        for result, place in zip(found, places, strict=True):
            result[first : first + _PIECE] = rows[place]
    return [result.reshape(values.shape[1:]) for result in found]


@functools.cache
def _network(count: int, places: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """Return the pairs to be put in order, one after the other, that these places depend on."""
    pairs = []
    top = 1 << max(count - 1, 1).bit_length() - 1
    step = top
    while step:
        other, rest, distance = top, 0, step
        while distance:
            pairs += [
                (low, low + distance) for low in range(count - distance) if low & step == rest
            ]
            distance, rest, other = other - step, step, other >> 1
        step >>= 1
    wanted, needed = set(places), []
    for pair in reversed(pairs):
        if wanted.intersection(pair):
            wanted.update(pair)
            needed.append(pair)
    return tuple(reversed(needed))
