"""Instruments as data: one TOML file each, read by `load`."""

from tmt_dq.instruments.description import Detector, Instrument, Layout
from tmt_dq.instruments.files import available, load, load_own
from tmt_dq.instruments.policy import policy_flags

__all__ = ["Detector", "Instrument", "Layout", "available", "load", "load_own", "policy_flags"]
