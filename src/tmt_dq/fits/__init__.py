"""FITS mechanics: header cards, layout of units, checksums, tables, the writer."""
