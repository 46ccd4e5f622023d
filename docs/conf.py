"""How the documentation site is built: ``make docs``. Nothing is fetched from the network."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from tmt_dq import __version__

project = "tmt-dq"
author = "The tmt-dq developers"
copyright = f"2026, {author}"  # noqa: A001 - Sphinx' name
version = release = __version__

extensions = ["myst_nb"]
exclude_patterns = ["_build", "examples/*.py"]
nitpicky = True

# Pages are run by tests/test_docs.py and the notebook by tests/test_notebook.py, not by Sphinx.
nb_execution_mode = "off"
myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist"]
myst_heading_anchors = 3

html_theme = "pydata_sphinx_theme"
html_title = "tmt-dq"
