"""How the site looks. Read by Sphinx; what is on it and how pages link is build.py's."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).resolve().parent

project = "Perdure"
copyright = "the authors of Perdure, Apache-2.0"
release = re.search(r'^version = "(.+)"$', (HERE.parents[1] / "pyproject.toml").read_text("utf-8"), re.M)[1]  # type: ignore[index]

extensions = ["myst_parser", "sphinx_copybutton"]
source_suffix = {".md": "markdown"}

# Links are checked down to the heading; headings have the anchors that they have in the repository's own view.
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence", "deflist"]

# A reader copies what is typed, and neither the prompt nor what the command prints.
copybutton_prompt_text = r"\$ "
copybutton_prompt_is_regexp = True
copybutton_only_copy_prompt_lines = True
copybutton_line_continuation_character = "\\"

highlight_language = "text"
pygments_style = "default"
pygments_dark_style = "github-dark"

html_theme = "furo"
html_title = f"Perdure {release}"
html_static_path = ["style.css"]
html_css_files = ["style.css"]
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {"top_of_page_buttons": []}
