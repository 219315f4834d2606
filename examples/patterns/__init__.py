"""Whole programs, a folder each: what `perdure new --from` starts a project from. `workflows.py` is the one to read."""
