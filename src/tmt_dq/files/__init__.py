"""Files: atomic outputs, copies of bytes, names."""
