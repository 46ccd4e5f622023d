"""Masks made from darks and flats: statistics of the reads, finders, recipe."""
