"""Finder: a function that decides from maps which pixels get a flag."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tmt_dq.calibration.maps import Maps
from tmt_dq.core.flags import PIXEL
from tmt_dq.core.options import Option
from tmt_dq.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Finder:
    """A way to find pixels of one kind.

    Parameters
    ----------
    name : str
        Its name in recipes.
    flag : str
        The flag that its pixels get.
    find : callable
        ``find(maps, **parameters)`` returns an ndarray of bool, of the shape of the maps. It has no
        other effect, and returns the same for the same maps. Its keyword parameters are what a
        recipe may set; each has a default, whose type is that of the parameter.
    needs : tuple of str
        Maps without which it cannot run.
    last : bool
        Whether it decides from what the others found, too (`Maps.flags`).
    reports : str
        A map that is summed up over its pixels, in results and in HISTORY.

    Examples
    --------
    >>> def find_cold(maps, *, maximum_rate_e_per_s=-0.1):
    ...     return maps["dark_rate"] < maximum_rate_e_per_s
    >>> finder = Finder("cold", "OTHER_BAD_PIXEL", find_cold, needs=("dark_rate",))
    >>> finder.parameters
    {'maximum_rate_e_per_s': -0.1}
    """

    name: str
    flag: str
    find: Callable[..., npt.NDArray[np.bool_]]
    needs: tuple[str, ...] = ()
    last: bool = False
    reports: str = ""

    def __post_init__(self) -> None:
        PIXEL.encode(self.flag)

    @property
    def parameters(self) -> dict[str, Any]:
        """Names and defaults of the parameters."""
        named = list(inspect.signature(self.find).parameters.values())[1:]
        return {parameter.name: parameter.default for parameter in named}

    @property
    def summary(self) -> str:
        """First line of the function's documentation."""
        return (inspect.getdoc(self.find) or "").partition("\n")[0]

    def check(self, given: Mapping[str, Any], *, where: object) -> dict[str, Any]:
        """Return all parameters, those of a recipe in place of their defaults, checked."""
        known = self.parameters
        for name in given:
            if name not in known:
                raise ConfigError(
                    f"{name} is no parameter of the finder {self.name}; it has "
                    f"{', '.join(known) or 'none'}",
                    where=where,
                )
        values = {**known, **given}
        for name, default in known.items():
            Option(help="", kind=type(default)).check(name, values[name], where=where)
        return {name: type(default)(values[name]) for name, default in known.items()}

    def run(self, maps: Maps, parameters: Mapping[str, Any]) -> npt.NDArray[np.bool_]:
        """Return its pixels; ConfigError where the function does not keep the contract."""
        found: Any = self.find(maps, **parameters)
        shape = maps.reference.shape
        if not isinstance(found, np.ndarray) or found.dtype != bool or found.shape != shape:
            kind = f"{found.dtype} {found.shape}" if isinstance(found, np.ndarray) else repr(found)
            raise ConfigError(
                f"returned {kind}; expected bool {shape}", where=f"finder {self.name}"
            )
        return found

    def report(self, maps: Maps, found: npt.NDArray[np.bool_]) -> str:
        """Return the smallest, median and largest value of the map that it reports."""
        if not self.reports or not found.any():
            return ""
        values = maps[self.reports][found]
        low, middle, high = values.min(), np.median(values), values.max()
        return f"{self.reports} {low:.2f} to {high:.2f}, in the median {middle:.2f}"
