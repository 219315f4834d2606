"""The pytest plugin. Imported by every pytest run of everybody who has Perdure installed: nothing heavy at its top."""

from __future__ import annotations
