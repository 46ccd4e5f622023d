"""FITS on disk: header-only reading, copying of data units, atomic writing; ramps and masks."""
