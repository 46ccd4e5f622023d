"""How well `tmt-dq make` finds planted defects: recall and precision, class by class.

``python -m benchmarks.bad_pixels`` measures what .bench/bad_pixels lacks, prints the tables and
draws the picture of docs/topics/bad_pixel_search.md: half an hour on a free core. The seeds here
are for measuring alone: thresholds were tuned on others (101 to 110).
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt

from tmt_dq.calibration.measure import Cubes, Lamp, measure
from tmt_dq.calibration.recipe import load_recipe
from tmt_dq.calibration.simulation import Noise, Scene
from tmt_dq.calibration.statistics import Sampling

Bools = npt.NDArray[np.bool_]

RESULTS = Path(".bench/bad_pixels")
PICTURE = Path("docs/images/bad-pixel-recall.png")
SIZE = 256
SEEDS = (201, 202, 203, 204, 205)
SEEDS_OF_MANY = SEEDS[:3]
"""Scenes of which 60 darks are simulated."""
NUMBERS = {5: 2, 10: 1, 60: 1}
"""Darks that a mask is made of, and how many masks are made of those of a scene."""
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
PLACES = {
    "OPEN": ("OPEN, pairs", ("OPEN_PAIR",)),
    "DEAD": ("DEAD, in clusters and a column", ("CLUSTER", "COLUMN")),
}
"""Parts of a class that have a row of their own."""


@dataclass
class Score:
    """Pixels of a class: planted, found, falsely flagged among clean pixels and among others."""

    planted: int = 0
    found: int = 0
    false_clean: int = 0
    false_other: int = 0
    clean: int = 0

    def add(self, other: "Score") -> None:
        for name, value in asdict(other).items():
            setattr(self, name, getattr(self, name) + value)

    @property
    def recall(self) -> float:
        return self.found / max(self.planted, 1)

    @property
    def precision(self) -> float:
        return self.found / max(self.found + self.false_clean + self.false_other, 1)

    def cell(self) -> str:
        """Return recall, precision and the share of clean pixels, for a table."""
        if not self.clean:
            return f" {self.recall:.3f} |"
        clean = f"{self.false_clean / self.clean * 1e5:.1f}" if self.false_clean else "0"
        return f" {self.recall:.3f} / {self.precision:.3f} / {clean} |"


Scores = dict[str, Score]


def sampling(scene: Scene) -> Sampling:
    return Sampling(scene.read_seconds, scene.gain_e_per_dn, 60000.0, scene.channel_width)


def lamps_of(scene: Scene) -> list[Lamp]:
    """Return the flats of a scene."""
    lamps, first = [], 0
    for light, count in LAMPS:
        cubes = [scene.flat_ramp(first + n, light_e_per_s=light) for n in range(count)]
        lamps.append(Lamp(Cubes(np.stack(cubes)), sampling(scene)))
        first += count
    return lamps


def flags_found(
    scene: Scene, darks: npt.NDArray[np.uint16], lamps: Sequence[Lamp]
) -> dict[str, Bools]:
    """Return the pixels of each class, all finders of a flag together."""
    recipe = load_recipe("iris")
    dark = (Cubes(darks), sampling(scene))
    maps = measure(dark, lamps, scene.reference, recipe.statistics, jobs=1)
    found: dict[str, Bools] = {}
    for name, (finder, parameters) in recipe.finders.items():
        if not finder.last:
            flag = TRUTH.get(name, finder.flag)
            found[flag] = finder.run(maps, parameters) | found.get(flag, False)
    return found


def scores(scene: Scene, found: Mapping[str, Bools]) -> Scores:
    """Return the score of each class, and of pixels at places that are difficult."""
    kinds = scene.kinds
    planted = np.any([*kinds.values(), scene.truth["ADJ_OPEN"]], axis=0)
    beside, isolated = Score(), Score()
    near = beside_border(scene.reference)
    result = {}
    for flag, pixels in found.items():
        if flag == "REFERENCE_PIXEL":  # the border, as it is described
            continue
        truth = scene.truth[flag]
        clean = scene.reference & ~truth if flag == "BAD_REF_PIXEL" else ~planted & ~scene.reference
        allowed = np.any([kinds[kind] for kind in ALSO.get(flag, ())] or [truth], axis=0)
        result[flag] = Score(
            planted=int(truth.sum()),
            found=int((pixels & truth).sum()),
            false_clean=int((pixels & clean & ~truth).sum()),
            false_other=int((pixels & ~truth & ~clean & ~allowed).sum()),
            clean=int(clean.sum()),
        )
        name, parts = PLACES.get(flag, ("", ()))
        part = np.any([kinds[kind] for kind in parts] or [truth & False], axis=0)
        if name:
            result[name] = Score(int(part.sum()), int((pixels & part).sum()))
        if flag != "BAD_REF_PIXEL":
            for score, where in ((beside, near), (isolated, ~near & ~part)):
                score.add(Score(int((truth & where).sum()), int((pixels & truth & where).sum())))
    return result | {"all classes, beside the border": beside, "all classes, isolated": isolated}


def beside_border(reference: Bools) -> Bools:
    """Return the pixels that have a reference pixel among their eight neighbours."""
    from scipy import ndimage

    grown: Bools = ndimage.binary_dilation(reference, np.ones((3, 3), bool))
    return grown & ~reference


def measured(noise: str, seed: int) -> dict[str, Scores]:
    """Return the scores of one scene for each number of darks, from the results or anew."""
    numbers = [n for n in NUMBERS if n <= 10 or seed in SEEDS_OF_MANY]
    path = RESULTS / f"scores-{list(NOISES).index(noise)}-{seed}.json"
    if not path.exists():
        began = time.monotonic()
        scene = Scene((SIZE, SIZE), seed=seed, noise=NOISES[noise])
        darks = np.stack([scene.dark_ramp(number) for number in range(max(numbers))])
        lamps = lamps_of(scene)
        total: dict[int, Scores] = {number: {} for number in numbers}
        for number in numbers:
            for first in range(0, NUMBERS[number] * number, number):
                found = flags_found(scene, darks[first : first + number], lamps)
                add(total[number], scores(scene, found))
        text = {n: {k: asdict(v) for k, v in each.items()} for n, each in total.items()}
        path.write_text(json.dumps(text))
        print(f"  {noise}, seed {seed}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    stored = json.loads(path.read_text())
    return {n: {k: Score(**v) for k, v in each.items()} for n, each in stored.items()}


def add(total: Scores, more: Scores) -> None:
    for name, score in more.items():
        total.setdefault(name, Score()).add(score)


def table(noise: str, seeds: Sequence[int]) -> None:
    """Print recall, precision and false flags of clean pixels, a row a class."""
    total: dict[str, Scores] = {}
    for seed in seeds:
        for number, each in measured(noise, seed).items():
            add(total.setdefault(number, {}), each)
    print(f"\n{noise}\n")
    print("| class |" + "".join(f" {number} darks | |" for number in total))
    print("|---|" + "---:|---:|" * len(total))
    for name in next(iter(total.values())):
        cells = [f" {each[name].planted:,} |{each[name].cell()}" for each in total.values()]
        print(f"| {name} |" + "".join(cells))


CURVES = {
    "WARM": "e⁻/s",
    "RC": "noise of a read difference",
    "TELEGRAPH": "noise of a read",
    "UNRELIABLE_DARK": "noise of the population",
    "UNRELIABLE_BIAS": "noise of the population",
    "UNRELIABLE_SLOPE": "e⁻/s",
}
"""Classes whose recall depends on an amplitude, and its unit."""


def amplitudes(scene: Scene, flag: str) -> npt.NDArray[np.float64]:
    """Return the amplitude of each planted pixel of a class, in the unit of its curve."""
    noise, planted = scene.noise, scene.truth[flag]
    values = {"WARM": scene.dark, "UNRELIABLE_DARK": scene.read_noise}.get(flag, scene.amplitude)
    unit = {
        "RC": np.sqrt(2) * noise.read_e,
        "TELEGRAPH": noise.read_e,
        "UNRELIABLE_DARK": noise.read_e,
        "UNRELIABLE_BIAS": np.hypot(noise.reset_e, noise.read_e),
    }
    return np.asarray(np.abs(values[planted]) / unit.get(flag, 1.0), np.float64)


def curve(noise: str, seed: int, number: int) -> dict[str, list[tuple[float, bool]]]:
    """Return amplitude, and whether it was found, of defects that begin far below thresholds."""
    path = RESULTS / f"curve-{list(NOISES).index(noise)}-{seed}-{number}.json"
    if not path.exists():
        scene = Scene((SIZE, SIZE), seed=seed, noise=NOISES[noise], weakest=0.2)
        points: dict[str, list[tuple[float, bool]]] = {flag: [] for flag in CURVES}
        lamps = [Lamp(Cubes(np.stack([scene.flat_ramp(0)] * 2)), sampling(scene))]
        for first in range(0, 20, number):
            darks = [scene.dark_ramp(first + index) for index in range(number)]
            found = flags_found(scene, np.stack(darks), lamps)
            for flag in CURVES:
                hits = found[flag][scene.truth[flag]].tolist()
                points[flag] += zip(amplitudes(scene, flag).tolist(), hits, strict=True)
        path.write_text(json.dumps(points))
        print(f"  curve, {noise}, seed {seed}, {number} darks", file=sys.stderr)
    stored: dict[str, list[tuple[float, bool]]] = json.loads(path.read_text())
    return stored


def binned(points: Sequence[tuple[float, bool]]) -> Iterator[tuple[float, float]]:
    """Yield mean amplitude and recall of 15 bins of as many pixels each."""
    values = np.array(sorted(points))
    for part in np.array_split(values, min(15, len(values))):
        yield float(part[:, 0].mean()), float(part[:, 1].mean())


def enough(points: Sequence[tuple[float, bool]]) -> float:
    """Return the amplitude from which recall is 0.99, of 100 pixels at least; else infinity."""
    values = np.array(sorted(points, reverse=True))
    recall = np.cumsum(values[:, 1]) / np.arange(1, len(values) + 1)
    good = np.flatnonzero(recall >= 0.99)
    return float(values[good[-1], 0]) if good.size and good[-1] >= 100 else np.inf


def curves(noise: str, seeds: Sequence[int]) -> None:
    """Draw recall against amplitude, and print from which amplitude on it is 0.99."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    figure = Figure(figsize=(9, 5), layout="constrained")
    panels = figure.subplots(2, 3, sharey=True)
    print(f"\nRecall 0.99 from this amplitude on, {noise}\n\n| class | unit | 5 darks | 10 darks |")
    print("|---|---|---:|---:|")
    results = {n: [curve(noise, seed, n) for seed in seeds] for n in (5, 10)}
    for panel, (flag, unit) in zip(panels.flat, CURVES.items(), strict=True):
        limits = []
        for (number, each), style in zip(results.items(), ("o--", "s-"), strict=True):
            points = [point for one in each for point in one[flag]]
            x, y = zip(*binned(points), strict=True)
            panel.plot(x, y, style, markersize=3, label=f"{number} darks")
            limits.append(f" {enough(points):.2g} |")
        panel.set(title=flag, xlabel=unit, xscale="log")
        panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.axhline(0.99, color="0.7", linewidth=0.8)
        print(f"| {flag} | {unit} |" + "".join(limits))
    panels[0, 0].legend()
    figure.supylabel("recall")
    figure.savefig(PICTURE, dpi=80)


def peers(noise: str, python: Path) -> None:
    """Print what jwst_reffiles and ccdmask find in one scene with 10 darks."""
    number = list(NOISES).index(noise)
    exposures, answer = (RESULTS / f"{name}-{number}.npz" for name in ("exposures", "found"))
    scene = Scene((SIZE, SIZE), seed=SEEDS[0], noise=NOISES[noise])
    if not answer.exists():
        flats = {
            f"flats_{level}": cast("Cubes", lamp.reads).array
            for level, lamp in enumerate(lamps_of(scene))
        }
        darks = np.stack([scene.dark_ramp(number) for number in range(10)])
        np.savez(exposures, allow_pickle=False, darks=darks, reference=scene.reference, **flats)
        script = Path(__file__).with_name("peers") / "find_bad_pixels.py"
        subprocess.run([python, script, exposures.resolve(), answer.resolve()], check=True)
        exposures.unlink()
    print(f"\nOther software, {noise}, 10 darks\n\n| class | planted | found |\n|---|---:|---:|")
    for name, pixels in np.load(answer).items():
        flag = name.partition(",")[0]
        if flag == "ccdmask":
            low = scene.truth["DEAD"] | scene.truth["LOW_QE"] | scene.truth["OPEN"]
            scene.truth[flag] = low | scene.truth["NONLINEAR"] | scene.truth["HOT"]
        score = scores(scene, {flag: pixels})[flag]
        print(f"| {name} | {score.planted:,} |{score.cell()}")


def romanisim(python: Path, seeds: Sequence[int]) -> None:
    """Print the scores of darks that the cosmic rays of romanisim cross, 1/f noise, 10 darks."""
    total: Scores = {}
    for seed in seeds:
        path = RESULTS / f"romanisim-{seed}.json"
        scene = Scene((SIZE, SIZE), seed=seed)
        if not path.exists():
            exposures = path.with_suffix(".npz").resolve()
            script = Path(__file__).with_name("peers") / "expose_with_romanisim.py"
            command: list[str | Path] = [python, script, str(SIZE), str(seed), "10", exposures]
            subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": "src"})
            with np.load(exposures) as data:
                cubes = [data[f"flats_{level}"] for level in range(len(LAMPS))]
                lamps = [Lamp(Cubes(cube), sampling(scene)) for cube in cubes]
                found = scores(scene, flags_found(scene, data["darks"], lamps))
            path.write_text(json.dumps({name: asdict(score) for name, score in found.items()}))
            exposures.unlink()
        stored = json.loads(path.read_text())
        add(total, {name: Score(**score) for name, score in stored.items()})
    print(
        "\nCosmic rays of romanisim, 1/f noise, 10 darks\n\n| class | planted | |\n|---|---:|---:|"
    )
    for name, score in total.items():
        print(f"| {name} | {score.planted:,} |{score.cell()}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--no-curves", action="store_true", help="tables only")
    parser.add_argument("--peers", type=Path, help="Python with jwst_reffiles, ccdproc, romanisim")
    given = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    for seed in given.seeds:
        for noise in NOISES:
            measured(noise, seed)
    for noise in NOISES:
        table(noise, given.seeds)
    if given.peers:
        for noise in (next(iter(NOISES)), list(NOISES)[-1]):
            peers(noise, given.peers)
        romanisim(given.peers, SEEDS_OF_MANY)
    if not given.no_curves:
        curves("1/f noise, many cosmic rays", given.seeds)


if __name__ == "__main__":
    main()
