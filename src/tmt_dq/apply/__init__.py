"""Data-quality initialization of one exposure: options, plan, output."""
