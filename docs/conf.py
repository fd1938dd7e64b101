"""Settings of the documentation."""

import sys
from pathlib import Path

import mutatis

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "Mutatis"
author = "The Mutatis authors"
copyright = "2026, The Mutatis authors"
version = release = mutatis.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode", "markdown_docstrings", "mathml"]
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
# Tables of results are included where they are shown; they are no pages of their own.
exclude_patterns = ["_build", "results/*"]

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 100
add_module_names = False

html_theme = "furo"
html_math_renderer = "mathml"
html_css_files = ["pages.css"]
html_title = "Mutatis"
html_static_path = ["_static"]
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#2f6f8f", "color-brand-content": "#2f6f8f"},
    "dark_css_variables": {"color-brand-primary": "#7fb8d4", "color-brand-content": "#7fb8d4"},
}
