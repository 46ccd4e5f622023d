"""Masks: mask files read and written, bad pixels imported from other formats, masks combined."""
