"""Golden histories: runs kept as files beside the code, replayed on it.

Knows files and registries. Must not know who asks, nor how a finding is shown.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from perdure.declare.registry import Registry
from perdure.replay.check import Verdict
from perdure.replay.history_file import SUFFIX, History
from perdure.replay.survey import Finding, Survey


def check_history(history: History, registry: Registry) -> Finding:
    """Replay a history on the registered workflows, performing nothing."""
    survey = Survey(history.ledger(), registry, name=history.file or "LEDGER")
    finding = survey.check(history.row)
    if isinstance(finding, Verdict) and finding.divergence is not None and history.file:
        position = min(finding.divergence.position, len(history.entries) - 1)
        finding.divergence.inspect = f"perdure history show {history.file} --at {position}"
    if isinstance(finding, Verdict) and finding.divergence is not None and history.redacted:
        told = f"values of this history were redacted ({', '.join(history.redacted)}): perhaps the body looks into one"
        finding.divergence.why += f"\n{told}"
    return finding


def history_files(paths: Sequence[str | os.PathLike[str]]) -> Iterator[Path]:
    """Find the histories in files and folders, in order of their names within each folder."""
    for each in map(Path, paths):
        if each.is_dir():
            yield from sorted(each.rglob(f"*{SUFFIX}"))
        else:
            yield each
