"""Darks and flats with the cosmic rays of romanisim; runs in an environment of its own.

python expose_with_romanisim.py SIZE SEED DARKS EXPOSURES.npz

All else is of our simulation, which is on PYTHONPATH.
"""

import sys

import numpy as np
from romanisim.cr import simulate_crs

from tmt_dq.calibration import simulation

PIXEL_CM = 10e-4


class RomanScene(simulation.Scene):
    """A scene that eight rays a cm² and second cross, each along a track of pixels."""

    def _add_cosmic_rays(
        self, rng: np.random.Generator, charge: simulation.Floats, seconds: float
    ) -> None:
        hits = np.zeros(charge.shape)
        simulate_crs(hits, seconds, area=charge.size * PIXEL_CM**2, rng=rng)
        charge += np.where(self.reference, 0, hits)


size, seed, number, target = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
noise = simulation.Noise(one_over_f_e=6, alternating_e=1.5)
scene = RomanScene((size, size), seed=seed, noise=noise)
lamps = ((150.0, 3), (400.0, 3), (900.0, 4))
exposures = {"darks": np.stack([scene.dark_ramp(index) for index in range(number)])}
for level, (light, count) in enumerate(lamps):
    flats = [scene.flat_ramp(10 * level + index, light_e_per_s=light) for index in range(count)]
    exposures[f"flats_{level}"] = np.stack(flats)
np.savez(target, allow_pickle=False, **exposures)
