"""Flag sources: everything that adds flags to an exposure."""
