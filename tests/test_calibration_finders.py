"""Finders and the statistics they decide from, on simulated detectors whose defects are known."""

import numpy as np
import numpy.typing as npt
import pytest

from calibration_helpers import SAMPLING, measured
from tmt_dq.calibration.finders import FINDERS, Finder
from tmt_dq.calibration.maps import Maps, MapsSettings
from tmt_dq.calibration.measure import Cubes, Lamp, measure
from tmt_dq.calibration.recipe import load_recipe
from tmt_dq.calibration.simulation import Noise, Scene
from tmt_dq.calibration.statistics import dark_statistics
from tmt_dq.core.flags import PIXEL
from tmt_dq.errors import ConfigError

Bools = npt.NDArray[np.bool_]

PLANTED = {
    "dead": "DEAD",
    "low_qe": "LOW_QE",
    "open": "OPEN",
    "adjacent_to_open": "ADJ_OPEN",
    "hot": "HOT",
    "warm": "WARM",
    "rc": "RC",
    "inverse_rc": "INVERSE_RC",
    "telegraph": "TELEGRAPH",
    "unreliable_slope": "UNRELIABLE_SLOPE",
    "unreliable_dark": "UNRELIABLE_DARK",
    "unreliable_bias": "UNRELIABLE_BIAS",
    "nonlinear": "NONLINEAR",
    "bad_reference": "BAD_REF_PIXEL",
    "reference": "REFERENCE_PIXEL",
}
"""Finders, and the truth that each is about."""

NAMES = [finder.name for finder in FINDERS]


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene((128, 256), seed=21)


@pytest.fixture(scope="module")
def maps(scene: Scene) -> Maps:
    return measured(scene)


@pytest.fixture(scope="module")
def plain() -> Maps:
    """Return the maps of a detector without defects, of an odd shape, with many cosmic rays."""
    noise = Noise(cosmic_rays_per_pixel_s=1e-5, one_over_f_e=6, alternating_e=1.5)
    scene = Scene((61, 149), seed=22, noise=noise, defects=False)
    return measured(scene, darks=6, flats=((400.0, 4),))


def run(name: str, maps: Maps) -> Bools:
    finder, parameters = load_recipe("iris").finders[name]
    return finder.run(maps, parameters)


def with_flags(maps: Maps) -> Maps:
    """Return maps with the flags of the finders that do not complete others."""
    flags = np.zeros(maps.reference.shape, np.uint32)
    for finder, parameters in load_recipe("iris").finders.values():
        if not finder.last:
            flags |= finder.run(maps, parameters) * np.uint32(PIXEL[finder.flag])
    return maps.with_flags(flags)


@pytest.mark.parametrize("name", NAMES)
def test_finder_keeps_the_contract(name: str, maps: Maps, plain: Maps) -> None:
    flagged = with_flags(maps)
    before = {key: values.copy() for key, values in maps.items()}
    first, second = run(name, flagged), run(name, flagged)
    np.testing.assert_array_equal(first, second)
    for key, values in maps.items():
        np.testing.assert_array_equal(values, before[key])
    if name != "reference":
        found = run(name, with_flags(plain))
        assert found.shape == (61, 149)
        assert not found.any()


@pytest.mark.parametrize(("name", "truth"), PLANTED.items())
def test_finder_finds_what_is_planted(name: str, truth: str, scene: Scene, maps: Maps) -> None:
    planted, found = scene.truth[truth], run(name, maps)
    assert planted.any()
    assert (found & planted).sum() >= 0.9 * planted.sum()
    nowhere = ~np.any([*scene.kinds.values(), *scene.truth.values()], axis=0)
    assert not (found & nowhere).any()


def test_dead_and_open_exclude_each_other(scene: Scene, maps: Maps) -> None:
    dead, opened, weak = (run(name, maps) for name in ("dead", "open", "low_qe"))
    assert not (dead & opened).any()
    assert not (weak & (dead | opened)).any()
    pairs = scene.kinds["OPEN_PAIR"]
    assert (opened & pairs).sum() == pairs.sum()


def test_reference_pixels_are_never_dead(maps: Maps) -> None:
    for name in ("dead", "low_qe", "hot", "telegraph"):
        assert not (run(name, maps) & maps.reference).any()


def test_lines_and_holes_are_filled(scene: Scene, maps: Maps) -> None:
    column = int(np.flatnonzero(scene.kinds["COLUMN"].any(axis=0))[0])
    flagged = with_flags(maps)
    bad = run("dead", maps)[:, column]
    filled = run("lines", flagged)[:, column]
    active = ~scene.reference[:, column]
    assert (bad | filled)[active].all()
    ring = np.zeros((20, 20), np.uint32)
    ring[5:8, 5:8] = PIXEL["DEAD"]
    ring[6, 6] = 0
    small = Maps({}, np.zeros((20, 20), bool)).with_flags(ring)
    assert np.argwhere(run("clusters", small)).tolist() == [[6, 6]]


def test_result_does_not_depend_on_threads_or_order(scene: Scene, maps: Maps) -> None:
    darks = [scene.dark_ramp(number) for number in range(6)]
    flats = [scene.flat_ramp(number) for number in range(3)]

    def maps_of(darks: list[npt.NDArray[np.uint16]], jobs: int) -> Maps:
        lamp, dark = Lamp(Cubes(np.stack(flats)), SAMPLING), Cubes(np.stack(darks))
        return measure((dark, SAMPLING), [lamp], scene.reference, MapsSettings(), jobs=jobs)

    once, again, turned = maps_of(darks, 1), maps_of(darks, 3), maps_of(darks[::-1], 1)
    for name in once:
        np.testing.assert_array_equal(once[name], again[name])
    for name in NAMES:
        np.testing.assert_array_equal(
            run(name, with_flags(once)), run(name, with_flags(turned)), err_msg=name
        )


def test_rates_are_those_of_the_detector(scene: Scene, maps: Maps) -> None:
    hot = scene.kinds["HOT"]
    np.testing.assert_allclose(maps["dark_rate"][hot], scene.dark[hot], rtol=0.1, atol=0.05)
    clean = ~np.any([*scene.kinds.values(), *scene.truth.values()], axis=0)
    assert abs(float(np.median(maps["dark_rate"][clean])) - 0.01) < 0.003
    # A difference of two reads has the noise of both.
    assert abs(float(np.median(maps["difference_noise"][clean])) / (12 * np.sqrt(2)) - 1) < 0.05


def test_cosmic_rays_do_not_change_slopes() -> None:
    rng = np.random.default_rng(5)
    reads = rng.normal(5000, 6, (8, 60, 4, 256)).astype(np.float32)
    quiet = dark_statistics(reads.copy(), SAMPLING)
    for exposure in range(8):
        column = 20 * exposure + 10
        reads[exposure, 17:, 1, column] += 900
        reads[exposure, 41:, 1, column] += 60
        reads[exposure, 30:, 2, column] += 8000
    hit = dark_statistics(reads, SAMPLING)
    for name in ("dark_rate", "dark_rate_scatter", "telegraph"):
        spread = float(quiet[name].std())
        assert np.abs(hit[name] - quiet[name]).max() < 4 * spread, name


def test_finders_without_darks_or_flats_are_known_to_lack_maps(maps: Maps) -> None:
    assert "dark_rate" in maps
    assert "dark_rate" not in Maps({}, maps.reference)


def test_parameters_are_checked() -> None:
    finder = next(one for one in FINDERS if one.name == "hot")
    assert finder.check({"minimum_rate_e_per_s": 1}, where="here")["minimum_rate_e_per_s"] == 1.0
    for wrong in ({"minimum_rate": 1.0}, {"minimum_rate_e_per_s": "1"}, {"ipc_uncertainty": True}):
        with pytest.raises(ConfigError, match="here"):
            finder.check(wrong, where="here")
    broken = Finder("broken", "HOT", lambda maps: maps.reference.astype(int))
    with pytest.raises(ConfigError, match=r"finder broken: returned int64 \(3, 4\)"):
        broken.run(Maps({}, np.zeros((3, 4), bool)), {})


def test_every_finder_is_documented() -> None:
    for finder in FINDERS:
        assert finder.summary.startswith("Find ")
        for name in finder.parameters:
            assert name in (finder.find.__doc__ or ""), f"{finder.name}: {name}"
        assert finder.name in load_recipe("iris").finders
