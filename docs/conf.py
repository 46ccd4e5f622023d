"""How the documentation site is built: ``make docs``. Nothing is fetched from the network."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from numpydoc.xref import DEFAULT_LINKS

import tmt_dq

project = "tmt-dq"
author = "The tmt-dq developers"
copyright = f"2026, {author}"  # noqa: A001 - Sphinx' name
version = release = tmt_dq.__version__

extensions = [
    "extensions.command_line",
    "extensions.configuration",
    "extensions.error_table",
    "extensions.flag_table",
    "extensions.names",
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_build", "examples/*.py", "extensions", "templates"]
templates_path = ["templates"]
nitpicky = True
default_role = "py:obj"
highlight_language = "text"
smartquotes = False  # --option is not an en dash

# Blocks of code are run by tests/test_docs.py and the notebook by tests/test_notebook.py.
nb_execution_mode = "off"
myst_enable_extensions = ["attrs_block", "attrs_inline", "colon_fence", "deflist", "substitution"]
myst_substitutions = {"version": version}
myst_heading_anchors = 3

autosummary_generate = True
autodoc_typehints = "none"  # the docstrings have the types, with shapes and units
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_xref_param_type = True
numpydoc_xref_ignore = "all"
numpydoc_xref_aliases = {name: f"tmt_dq.{name}" for name in tmt_dq.__all__ if name[0].isupper()}

if os.environ.get("TMT_DQ_DOCS_INTERSPHINX") == "1":
    # Links into the pages of other projects, for who has the network and wants them.
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "astropy": ("https://docs.astropy.org/en/stable", None),
        "stpipe": ("https://stpipe.readthedocs.io/en/stable", None),
    }
else:
    # numpydoc would link bool, iterable and their like to pages that are not at hand.
    numpydoc_xref_aliases |= {name: name for name in DEFAULT_LINKS}

html_theme = "pydata_sphinx_theme"
html_title = "tmt-dq"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_show_search_summary = False  # read by fetch(), which browsers refuse for file://
html_copy_source = False
html_theme_options = {
    "header_links_before_dropdown": 5,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "show_toc_level": 2,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_context = {"default_mode": "auto"}
