"""Parts of the documentation that are made from the code, each by a Sphinx extension."""
