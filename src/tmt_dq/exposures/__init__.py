"""Exposures: what the file of a ramp holds, and the record of an initialization."""
