"""How well `tmt-dq make` finds planted defects: recall and precision, class by class.

``python -m benchmarks.bad_pixels`` prints the tables of docs/topics/bad_pixel_search.md; it takes
20 minutes. The seeds here are for measuring alone: thresholds were tuned on others (101 to 110).
"""

import argparse
import itertools
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tmt_dq.calibration.maps import Maps
from tmt_dq.calibration.measure import Lamp, measure
from tmt_dq.calibration.recipe import load_recipe
from tmt_dq.calibration.simulation import Noise, Scene
from tmt_dq.calibration.statistics import Sampling

Bools = npt.NDArray[np.bool_]

SEEDS = (201, 202, 203, 204, 205)
NOISES = {
    "white noise, few cosmic rays": Noise(),
    "white noise, many cosmic rays": Noise(cosmic_rays_per_pixel_s=1e-5),
    "1/f noise, few cosmic rays": Noise(one_over_f_e=6, alternating_e=1.5),
    "1/f noise, many cosmic rays": Noise(
        one_over_f_e=6, alternating_e=1.5, cosmic_rays_per_pixel_s=1e-5
    ),
}
LAMPS = ((150.0, 3), (400.0, 3), (900.0, 4))
"""Light of the flats, e-/s, and exposures of each level."""

TRUTH = {"inverse_rc": "INVERSE_RC"}
"""Finders whose planted class is not called like their flag."""
ALSO: Mapping[str, Sequence[str]] = {
    "HOT": ("TELEGRAPH", "UNRELIABLE_SLOPE"),
    "WARM": ("TELEGRAPH", "UNRELIABLE_SLOPE"),
    "UNRELIABLE_SLOPE": ("TELEGRAPH", "UNRELIABLE_DARK"),
    "UNRELIABLE_DARK": ("TELEGRAPH", "SATURATED", "UNRELIABLE_SLOPE"),
    "UNRELIABLE_BIAS": ("TELEGRAPH", "UNRELIABLE_DARK"),
}
"""What a class shows in pixels that were planted as another: a telegraph pixel has no slope to
rely upon. Such a flag counts neither as found nor as false."""


@dataclass(frozen=True)
class Cubes:
    """Exposures in memory."""

    array: npt.NDArray[np.uint16]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        count, reads, ny, nx = self.array.shape
        return count, reads, ny, nx

    def rows(self, first: int, count: int) -> npt.NDArray[np.float32]:
        return self.array[:, :, first : first + count].astype(np.float32)


@dataclass
class Score:
    """Pixels of a class: planted, found, falsely flagged among clean pixels and among others."""

    planted: int = 0
    found: int = 0
    false_clean: int = 0
    false_other: int = 0
    clean: int = 0

    def add(self, other: "Score") -> None:
        for name in ("planted", "found", "false_clean", "false_other", "clean"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def recall(self) -> float:
        return self.found / max(self.planted, 1)

    @property
    def precision(self) -> float:
        return self.found / max(self.found + self.false_clean + self.false_other, 1)


def maps_of(scene: Scene, darks: npt.NDArray[np.uint16], lamps: Sequence[Cubes]) -> Maps:
    """Return the maps of a scene."""
    sampling = Sampling(scene.read_seconds, scene.gain_e_per_dn, 60000.0, scene.channel_width)
    flats = [Lamp(lamp, sampling) for lamp in lamps]
    return measure((Cubes(darks), sampling), flats, scene.reference, load_recipe("iris").statistics)


def flags_found(maps: Maps) -> dict[str, Bools]:
    """Return the pixels of each class, all finders of a flag together."""
    found: dict[str, Bools] = {}
    for name, (finder, parameters) in load_recipe("iris").finders.items():
        if not finder.last:
            flag = TRUTH.get(name, finder.flag)
            found[flag] = finder.run(maps, parameters) | found.get(flag, False)
    return found


def scores(scene: Scene, maps: Maps) -> dict[str, Score]:
    """Return the score of each class."""
    kinds = scene.kinds
    planted = np.any([*kinds.values(), scene.truth["ADJ_OPEN"]], axis=0)
    result = {}
    for flag, found in flags_found(maps).items():
        truth = scene.truth[flag]
        border = flag in {"BAD_REF_PIXEL", "REFERENCE_PIXEL"}
        clean = scene.reference & ~truth if border else ~planted & ~scene.reference
        allowed = np.any([kinds[kind] for kind in ALSO.get(flag, ())] or [truth], axis=0)
        result[flag] = Score(
            planted=int(truth.sum()),
            found=int((found & truth).sum()),
            false_clean=int((found & clean & ~truth).sum()),
            false_other=int((found & ~truth & ~clean & ~allowed).sum()),
            clean=int(clean.sum()),
        )
        if flag == "OPEN":
            pairs = kinds["OPEN_PAIR"]
            result["OPEN (pairs)"] = Score(
                int(pairs.sum()),
                int((found & pairs).sum()),
                result[flag].false_clean,
                result[flag].false_other,
                int(clean.sum()),
            )
    return result


def measured(
    noise: Noise, numbers: Sequence[int], seeds: Sequence[int], size: int
) -> Iterator[tuple[int, dict[str, Score]]]:
    """Yield the scores of a noise for each number of darks, summed over seeds."""
    total: dict[int, dict[str, Score]] = {number: {} for number in numbers}
    for seed in seeds:
        scene = Scene((size, size), seed=seed, noise=noise)
        darks = np.stack([scene.dark_ramp(number) for number in range(max(numbers))])
        first, lamps = 0, []
        for light, count in LAMPS:
            cubes = [scene.flat_ramp(first + n, light_e_per_s=light) for n in range(count)]
            lamps.append(Cubes(np.stack(cubes)))
            first += count
        for number in numbers:
            for flag, score in scores(scene, maps_of(scene, darks[:number], lamps)).items():
                total[number].setdefault(flag, Score()).add(score)
        print(f"  seed {seed}", file=sys.stderr)
    yield from total.items()


def table(noise: str, results: Mapping[int, Mapping[str, Score]]) -> None:
    """Print recall, precision and false flags of clean pixels, a row a class."""
    print(f"\n{noise}\n")
    print("| class | planted |" + "".join(f" {number} darks |" for number in results))
    print("|---|---:|" + "---:|" * len(results))
    first = next(iter(results.values()))
    for flag, score in first.items():
        if flag == "REFERENCE_PIXEL":
            continue
        cells = [
            f" {one.recall:.3f} / {one.precision:.3f} ({one.false_clean / max(one.clean, 1):.0e}) |"
            for one in (scores[flag] for scores in results.values())
        ]
        print(f"| {flag} | {score.planted:,} |" + "".join(cells))


CURVES = {
    "WARM": ("e-/s", (0.05, 0.08, 0.10, 0.12, 0.15, 0.2, 0.4)),
    "RC": ("noise of differences", (2, 3, 4, 6, 8, 10, 20, 60)),
    "TELEGRAPH": ("noise of a read", (1, 2, 3, 4, 5, 7, 10, 30)),
    "UNRELIABLE_DARK": ("noise of the population", (1, 1.5, 2, 2.5, 3, 4, 8)),
    "UNRELIABLE_BIAS": ("reset noise", (1, 2, 3, 4, 5, 8)),
    "UNRELIABLE_SLOPE": ("e-/s", (0.02, 0.04, 0.06, 0.08, 0.1, 0.2, 0.4)),
}
"""Classes whose recall depends on an amplitude: its unit, and limits of the bins."""


def amplitudes(scene: Scene, flag: str) -> npt.NDArray[np.float64]:
    """Return the amplitude of each planted pixel of a class, in the unit of its curve."""
    noise, planted = scene.noise, scene.truth[flag]
    values = {"WARM": scene.dark, "UNRELIABLE_DARK": scene.read_noise}.get(flag, scene.amplitude)
    unit = {
        "RC": np.sqrt(2) * noise.read_e,
        "TELEGRAPH": noise.read_e,
        "UNRELIABLE_DARK": noise.read_e,
        "UNRELIABLE_BIAS": noise.reset_e,
    }
    return np.asarray(np.abs(values[planted]) / unit.get(flag, 1.0), np.float64)


def curves(noise: Noise, number: int, seeds: Sequence[int], size: int) -> None:
    """Print recall against amplitude, of defects that begin far below the thresholds."""
    strength: dict[str, list[float]] = {flag: [] for flag in CURVES}
    hits: dict[str, list[bool]] = {flag: [] for flag in CURVES}
    for seed in seeds:
        scene = Scene((size, size), seed=seed, noise=noise, weakest=0.2)
        darks = np.stack([scene.dark_ramp(index) for index in range(number)])
        found = flags_found(maps_of(scene, darks, [Cubes(np.stack([scene.flat_ramp(0)] * 2))]))
        for flag in CURVES:
            strength[flag] += amplitudes(scene, flag).tolist()
            hits[flag] += found[flag][scene.truth[flag]].tolist()
    for flag, (unit, limits) in CURVES.items():
        values, ok = np.array(strength[flag]), np.array(hits[flag])
        cells = []
        for low, high in itertools.pairwise(limits):
            inside = (values >= low) & (values < high)
            if inside.any():
                cells.append(f"{low}–{high}: {ok[inside].mean():.2f}")
        print(f"| {flag} | {unit} | {', '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=384, help="rows and columns")
    parser.add_argument("--darks", type=int, nargs="+", default=[5, 10])
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--noise", type=int, nargs="+", default=range(len(NOISES)))
    parser.add_argument("--curves", action="store_true", help="recall against amplitude")
    given = parser.parse_args()
    for number in given.noise:
        name, noise = list(NOISES.items())[number]
        began = time.monotonic()
        if given.curves:
            curves(noise, max(given.darks), given.seeds, given.size)
            continue
        table(name, dict(measured(noise, given.darks, given.seeds, given.size)))
        print(f"  {name}: {time.monotonic() - began:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
