"""Statistics of the reads of a strip of pixels: arrays in, one value a pixel and statistic out.

All arrays are float32. `reads` has the axes (exposures, reads, rows, columns) and is in DN; results
are in electrons, (rows, columns).
"""

import functools
import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tmt_dq.calibration.medians import median, ranked

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

_MAD = np.float32(1.4826)
"""Standard deviation of normal noise in units of its median absolute deviation."""
_CLIP = 5.0
"""Outliers: so many standard deviations above other reads or exposures."""
_SAMPLE = 96
"""Read differences of a pixel that tell which of all are outliers."""
_STEP = 4.5
"""Standard deviations from which a step of a ramp is a cosmic ray."""
_STEP_AGAINST_SLOPE = 4.0
"""How much better (χ²) a step must describe a ramp than another slope does."""
_MOST_STEPS = 10
_STRUCK = 0.1
"""Share of exposures with rays from which the median over exposures has some of them."""
_PASSES = 3
"""Medians that are then taken without the rays that were found."""
_RARELY = 1e-4
"""Share of good pixels whose exposures without the highest may scatter more than is usual."""
_CALM = 2.0
"""The same in units of the usual scatter, for many exposures."""
_SHARES = (0.3, 0.7)
"""Shares of the exposures that dark_rate_low and dark_rate_high are above."""
_RC_READS = 3
LEAST_DARK_READS = _RC_READS + 1
"""Reads without which darks have no statistics."""
_EDGES = (2, 4, 8)
"""Reads averaged on each side of an edge of telegraph noise."""
_LEAST_COLUMNS = 16
"""Columns of which a median is taken for the noise that they have in common."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the exposures were read: what turns reads into statistics."""

    read_seconds: float
    gain_e_per_dn: float
    saturation_dn: float
    channel_columns: int = 0
    """Columns of a readout channel, 0 where rows are read through one."""


def dark_statistics(reads: Floats, sampling: Sampling) -> dict[str, Floats]:
    """Return the statistics of darks; rates count from the median of each row and channel."""
    length = reads.shape[1]
    gain, seconds = np.float32(sampling.gain_e_per_dn), np.float32(sampling.read_seconds)
    full = reads >= sampling.saturation_dn
    first_full = full[:, 0].mean(axis=0, dtype=np.float32)
    filled = full.any(axis=1).mean(axis=0, dtype=np.float32)
    bias = reads[:, 0] * gain
    bias -= median(bias)
    _remove_common(bias, sampling.channel_columns)
    early_rate = _unsaturated_rate(reads, full, filled > 0) * (gain / seconds)
    # What reads have in common is taken from reads, and the usual ramp is a median of ramps:
    # medians of differences would add up to a random walk.
    ramps = reads - reads[:, :1]
    ramps *= gain
    level = _remove_common(ramps, sampling.channel_columns)[-1] / (seconds * (length - 1))
    noise = _difference_noise(ramps, sampling.gain_e_per_dn)
    ramps -= ramps.mean(axis=1, keepdims=True)
    usual = median(ramps)
    ramps -= usual
    shot: Floats = np.maximum(_slope(usual[length // 2 :]), 0)
    variance = np.maximum(noise**2 - shot, noise**2 / 4) / 2
    calm, struck = _without_rays(ramps, variance, shot)
    several = struck.sum(axis=0) > max(1, _STRUCK * len(ramps))
    for _ in range(_PASSES if several.any() else 0):
        middle = median(calm[:, :, several])
        usual[:, several] += middle
        ramps[:, :, several] -= middle
        part = _without_rays(ramps[:, :, several], variance[several], shot[several])
        calm[:, :, several] = part[0]
    late = _slope(usual[length // 2 :])
    slopes = np.stack([_slope(ramp) for ramp in calm])
    del calm  # as large as all reads
    rates = (slopes + _slope(usual)) / seconds
    low, high = ranked(rates, *(round(share * (len(rates) - 1)) for share in _SHARES))
    statistics = {
        "difference_noise": noise,
        "saturated_first": first_full,
        "saturated": filled,
        "bias_scatter": _scatter(bias),
        "rc_excess": usual[_RC_READS] - usual[0] - _RC_READS * late,
        "level": level,
        "late_rate": late / seconds,
        "saturated_rate": median(early_rate),
        "telegraph": _telegraph(ramps, slopes, variance, shot),
        "dark_rate": median(rates),
        "dark_rate_low": low,
        "dark_rate_high": high,
        "high_share": (rates > (low + high) / 2).mean(axis=0),
        "dark_rate_scatter": _scatter(rates),
    }
    return {name: values.astype(np.float32) for name, values in statistics.items()}


def flat_statistics(reads: Floats, sampling: Sampling, parts: int) -> dict[str, Floats]:
    """Return the rates of flats of one level, e⁻/s: of whole ramps, and in `parts` parts of them.

    Reads from the first saturated one on do not count; a part without any is NaN.
    """
    gain, seconds = np.float32(sampling.gain_e_per_dn), np.float32(sampling.read_seconds)
    full = np.logical_or.accumulate(reads >= sampling.saturation_dn, axis=1)
    differences = np.diff(reads, axis=1)
    differences *= gain / seconds
    usual = median(differences)
    deviations = np.abs(differences - usual).reshape(-1, *usual.shape[1:])
    noise = _MAD * median(deviations) + np.float32(1e-3)
    hit = differences - usual > _CLIP * noise
    if len(reads) > 2:
        differences = np.where(hit, usual, differences)
    used = ~full[:, 1:]
    length = differences.shape[1]
    edges = part_edges(length, parts)
    statistics = {
        "flat_rate": _mean(differences.sum(axis=1, where=used), used.sum(axis=1)),
        "flat_saturated": full[:, -1].mean(axis=0, dtype=np.float32),
    }
    statistics["flat_rate"] = median(statistics["flat_rate"])
    for number, (first, end) in enumerate(itertools.pairwise(edges)):
        part, ok = differences[:, first:end], used[:, first:end]
        statistics[f"flat_part_{number}"] = _mean(
            part.sum(axis=(0, 1), where=ok),
            ok.sum(axis=(0, 1)),
            complete=part.shape[0] * part.shape[1],
        )
    return {name: values.astype(np.float32) for name, values in statistics.items()}


def part_edges(differences: int, parts: int) -> npt.NDArray[np.int_]:
    """Return the first read difference of each part of a ramp, and the end of the last."""
    return np.linspace(0, differences, parts + 1).round().astype(int)


def _remove_common(values: Floats, channel_columns: int) -> Floats:
    """Subtract, in place, the median of each row in each channel; return its mean over exposures.

    It takes the offset of a read, 1/f noise and, where there are columns enough, the noise of
    alternating columns away.
    """
    columns = values.shape[-1]
    width = channel_columns or columns
    step = 2 if min(width, columns) >= 2 * _LEAST_COLUMNS else 1
    if min(width, columns) < _LEAST_COLUMNS:
        width = columns
    level = np.zeros(values.shape[1:], np.float32)
    for start in range(0, columns, width):
        for parity in range(step):
            part = values[..., start + parity : start + width : step]
            middle = np.median(part, axis=-1, keepdims=True)
            part -= middle
            level[..., start + parity : start + width : step] = middle.mean(axis=0)
    return level


def _unsaturated_rate(reads: Floats, full: Bools, chosen: Bools) -> Floats:
    """Return the mean read difference before saturation; where there is none, the first or ∞."""
    rates = np.zeros((len(reads), *reads.shape[2:]), np.float32)
    if chosen.any():
        used = ~np.logical_or.accumulate(full[:, 1:, chosen], axis=1)
        part = np.diff(reads[:, :, chosen], axis=1)
        rates[:, chosen] = np.where(
            used.any(axis=1),
            _mean(part.sum(axis=1, where=used), used.sum(axis=1)),
            np.where(full[:, 0][:, chosen], np.inf, part[:, 0]),
        )
    return rates


def _difference_noise(ramps: Floats, gain_e_per_dn: float) -> Floats:
    """Return the standard deviation of read differences without outliers.

    The median of the deviations of a sample tells outliers; it alone would be as coarse as counts
    are, and that of all differences would take most of the time of all statistics.
    """
    differences = np.diff(ramps, axis=1).reshape(-1, *ramps.shape[2:])
    sample = differences[:: len(differences) // _SAMPLE | 1]
    middle = median(sample)
    spread = _MAD * median(np.abs(sample - middle))
    least = np.float32(gain_e_per_dn * np.sqrt(2 / 12))  # rounding of two reads
    differences -= middle
    usual = np.abs(differences) <= np.float32(_CLIP) * np.maximum(spread, least)
    number = usual.sum(axis=0)
    offset = differences.sum(axis=0, where=usual) / number
    differences *= differences
    mean = differences.sum(axis=0, where=usual) / number - offset**2
    noise: Floats = np.maximum(np.sqrt(mean), least)
    return noise


def _without_rays(ramps: Floats, variance: Floats, shot: Floats) -> tuple[Floats, Bools]:
    """Return residual ramps without the steps of cosmic rays, and which exposures had some.

    Noise is `variance` of each read, and a random walk of variance `shot` a read.
    """
    length, shape = ramps.shape[1], ramps.shape[2:]
    struck = np.zeros((len(ramps), *shape), bool)
    if length > 4:
        limit = np.float32(_STEP) * np.sqrt(variance)
        for ramp, hit in zip(ramps, struck, strict=True):
            steps = _step_templates(length) @ ramp.reshape(length, -1)
            hit[...] = steps.max(axis=0).reshape(shape) > limit
    calm = ramps.copy()
    by_pixel, place = np.moveaxis(calm, 1, -1), np.nonzero(struck)
    without = _without_steps(by_pixel[place], variance[place[1:]], shot[place[1:]])
    by_pixel[place], struck[place] = without
    return calm, struck


def _without_steps(ramps: Floats, variance: Floats, shot: Floats) -> tuple[Floats, Bools]:
    """Return ramps, (ramps, reads), without steps, and which had some.

    A step is taken out where it describes the ramp better than another slope does.
    """
    time = _times(ramps.shape[1])
    templates = np.vstack([_step_templates(ramps.shape[1]), time / np.sqrt(time @ time)])
    noise = np.sqrt(variance[:, None] + shot[:, None] * _walk(templates))
    ramps, found = ramps.copy(), np.zeros(len(ramps), bool)
    left = np.arange(len(ramps))
    for number in range(_MOST_STEPS):
        scores = ramps[left] @ templates.T / noise[left]
        steps, slope = scores[:, :-1], scores[:, -1]
        # What was taken out too much of one step, others give back.
        best = (np.abs(steps) if number else steps).argmax(axis=1)
        height = np.take_along_axis(steps, best[:, None], axis=1)[:, 0]
        hit = (height**2 - slope**2 > _STEP_AGAINST_SLOPE) & (np.abs(height) > _STEP)
        left, best = left[hit], best[hit]
        ramps[left] -= (height[hit] * noise[left, best])[:, None] * templates[best]
        found[left] = True
    return ramps, found


def _walk(templates: Floats) -> Floats:
    """Return the variance of each template's sum over a random walk of variance 1 a read."""
    ends = np.cumsum(templates[:, ::-1], axis=1)[:, :-1]
    result: Floats = (ends**2).sum(axis=1)
    return result


def _slope(ramp: Floats) -> Floats:
    """Return the slope of ramps by least squares, the reads on the first axis."""
    time = _times(len(ramp))
    slope: Floats = np.tensordot(time / (time @ time), ramp, axes=1)
    return slope


@functools.cache
def _times(reads: int) -> Floats:
    """Return the numbers of the reads, counted from their mean."""
    return (np.arange(reads) - (reads - 1) / 2).astype(np.float32)


@functools.cache
def _step_templates(reads: int) -> Floats:
    """Return a step after each read but the last, (steps, reads), of mean 0 and length 1."""
    steps = (np.arange(reads)[None, :] > np.arange(reads - 1)[:, None]).astype(np.float64)
    steps -= steps.mean(axis=1, keepdims=True)
    steps /= np.sqrt((steps**2).sum(axis=1, keepdims=True))
    return steps.astype(np.float32)


def _telegraph(ramps: Floats, slopes: Floats, variance: Floats, shot: Floats) -> Floats:
    """Return the significance of falling edges in the residual ramps.

    Cosmic rays only rise; what settles repeats in every exposure, and is no residual; a slope that
    is less than usual is taken out.
    The largest fall of each exposure, over averages of 2, 4 and 8 reads, is a number of standard
    deviations of read noise and the shot noise of the dark current. Its probability is combined
    over the exposures that exceed 5 % (truncated product; Zaykin et al. 2002, Genet. Epidemiol.
    22, 170), as a number of standard deviations in the square-root scale.
    """
    count, length, *shape = ramps.shape
    falling = np.minimum(slopes, 0)
    time = _times(length)
    drift: Floats = falling[:, None] * time[:, None, None]
    ramps = ramps - drift
    largest = np.zeros((count, *shape), np.float32)
    trials, width, sums = 0, 1, ramps
    while width < _EDGES[-1] and 4 * width <= length:
        sums = sums[:, :-width] + sums[:, width:]
        width *= 2
        fall = (sums[:, :-width] - sums[:, width:]).max(axis=1) / width
        expected = 2 * variance / width + shot * np.float32((2 * width**2 + 1) / (3 * width))
        np.maximum(largest, fall / np.sqrt(expected), out=largest)
        trials += length // width
    z = np.maximum(largest, 2)
    unlikely = z**2 / 2 + np.log(z) + np.float32(0.919 - np.log(max(trials, 1)))
    score = np.maximum(unlikely - 3, 0).sum(axis=0)
    significance: Floats = (np.sqrt(score) - np.sqrt(0.05 * count)).astype(np.float32)
    return significance


def _scatter(values: Floats) -> Floats:
    """Return the standard deviation over exposures.

    The highest value is left out where it alone is far above the others, which scatter as the
    population does: cosmic rays are one-sided.
    """
    count = len(values)
    if count < 3:
        return np.zeros(values.shape[1:], np.float32)
    from scipy import special

    left_out = max(1, count // 10)
    lowest = np.partition(values, count - left_out, axis=0)[: count - left_out]
    without = lowest.std(axis=0, ddof=1)
    scatter = values.std(axis=0, ddof=1)
    far = values.max(axis=0) - lowest.mean(axis=0) > np.float32(_CLIP) * np.median(scatter)
    half = (len(lowest) - 1) / 2  # of the degrees of freedom of χ²
    most = special.gammainccinv(half, _RARELY) / special.gammainccinv(half, 0.5)
    calm = without < np.float32(max(_CALM, np.sqrt(most))) * np.median(without)
    result: Floats = np.where(far & calm, without, scatter)
    return result


def _mean(total: Floats, number: npt.NDArray[np.int_], *, complete: int = 0) -> Floats:
    """Return a mean, NaN where there is nothing, or not all of what is complete."""
    enough = number >= max(complete, 1)
    result: Floats = np.where(enough, total / np.maximum(number, 1), np.nan).astype(np.float32)
    return result
