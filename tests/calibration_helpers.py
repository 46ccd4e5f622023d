"""Darks and flats in memory, for tests."""

import numpy as np

from tmt_dq.calibration.maps import Maps, MapsSettings
from tmt_dq.calibration.measure import Cubes, Lamp, measure
from tmt_dq.calibration.simulation import Scene
from tmt_dq.calibration.statistics import Sampling

SAMPLING = Sampling(read_seconds=5.0, gain_e_per_dn=2.0, saturation_dn=60000.0, channel_columns=128)


def measured(
    scene: Scene,
    *,
    darks: int = 10,
    reads: int = 60,
    flats: tuple[tuple[float, int], ...] = ((200.0, 4), (800.0, 4)),
    jobs: int = 1,
) -> Maps:
    """Return the maps of simulated darks and flats."""
    dark = Cubes(np.stack([scene.dark_ramp(number, reads) for number in range(darks)]))
    lamps = []
    for level, (light, count) in enumerate(flats):
        cubes = [
            scene.flat_ramp(100 * level + number, light_e_per_s=light) for number in range(count)
        ]
        lamps.append(Lamp(Cubes(np.stack(cubes)), SAMPLING))
    return measure((dark, SAMPLING), lamps, scene.reference, MapsSettings(), jobs=jobs)
