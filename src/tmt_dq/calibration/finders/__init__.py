"""Finders: pure functions on maps, ours and those of plug-ins."""

from importlib.metadata import entry_points

from tmt_dq.calibration.finders import darks, flats, shapes
from tmt_dq.calibration.finders.finder import Finder
from tmt_dq.errors import ConfigError

__all__ = ["FINDERS", "Finder", "known_finders"]

_RATE = ("dark_rate", "dark_rate_error", "saturated", "saturated_first")
_RC = ("rc_excess", "difference_noise", "telegraph", "saturated")
_RESPONSE = ("response", "neighbour_response")
_LINEAR = ("nonlinearity", "nonlinearity_fraction", "response")
_SLOPE = ("dark_rate_scatter", "dark_rate_low", "saturated")

FINDERS = (
    Finder("reference", "REFERENCE_PIXEL", shapes.find_reference),
    Finder("dead", "DEAD", flats.find_dead, _RESPONSE),
    Finder("low_qe", "LOW_QE", flats.find_low_qe, _RESPONSE),
    Finder("open", "OPEN", flats.find_open, _RESPONSE),
    Finder("adjacent_to_open", "ADJ_OPEN", flats.find_adjacent_to_open, _RESPONSE),
    Finder("hot", "HOT", darks.find_hot, _RATE),
    Finder("warm", "WARM", darks.find_warm, _RATE),
    Finder(
        "intermittent",
        "UNRELIABLE_DARK",
        darks.find_intermittent,
        ("dark_rate_low", "dark_rate_high", "dark_rate_error", "saturated"),
        reports="high_share",
    ),
    Finder("rc", "RC", darks.find_rc, _RC),
    Finder("inverse_rc", "OTHER_BAD_PIXEL", darks.find_inverse_rc, _RC),
    Finder("telegraph", "TELEGRAPH", darks.find_telegraph, ("telegraph", "saturated")),
    Finder("unreliable_slope", "UNRELIABLE_SLOPE", darks.find_unreliable_slope, _SLOPE),
    Finder(
        "unreliable_dark",
        "UNRELIABLE_DARK",
        darks.find_unreliable_dark,
        ("difference_noise", "dark_rate", "saturated"),
    ),
    Finder(
        "unreliable_bias",
        "UNRELIABLE_BIAS",
        darks.find_unreliable_bias,
        ("bias_scatter", "saturated"),
    ),
    Finder("nonlinear", "NONLINEAR", flats.find_nonlinear, _LINEAR),
    Finder(
        "bad_reference",
        "BAD_REF_PIXEL",
        darks.find_bad_reference,
        ("difference_noise", "dark_rate"),
    ),
    Finder("lines", "OTHER_BAD_PIXEL", shapes.find_gaps_in_lines, last=True),
    Finder("clusters", "OTHER_BAD_PIXEL", shapes.find_holes_in_clusters, last=True),
)
"""The finders of this package."""

_GROUP = "tmt_dq.finders"


def known_finders() -> dict[str, Finder]:
    """Return all finders by name: ours, and those that installed packages offer.

    ConfigError where a plug-in cannot be imported, is no `Finder`, or has a name that is taken.
    """
    found = {finder.name: finder for finder in FINDERS}
    for entry in entry_points(group=_GROUP):
        where = f"entry point {entry.value} of {_GROUP}"
        try:
            finder = entry.load()
        except Exception as error:  # whatever the package does when it is imported
            raise ConfigError(f"cannot be loaded: {error}", where=where) from error
        if not isinstance(finder, Finder) or finder.name in found:
            raise ConfigError(
                f"is {finder!r}; expected a Finder whose name is none of {', '.join(found)}",
                where=where,
                hint="Correct or uninstall the package.",
            )
        found[finder.name] = finder
    return found
