"""What the policy found in a body: one `Finding` per place, and how a set of them is told to the author.

This file knows how a finding looks and whom it goes to (an exception or a warning). It must not know what is allowed.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from perdure.errors import DeterminismWarning, PolicyViolation

STEP_FIX = 'move it into a step: `await step.run("name", …)`'


@dataclass(frozen=True, slots=True)
class Finding:
    """One place of a body, or of a helper that it reaches, that the policy refuses.

    `str(finding)` is a block for people; its first line starts with `file.py:LINE:COL`.
    """

    file: str
    line: int  # from 1
    column: int  # from 1, in characters
    rule: str  # stable slug
    message: str  # what is wrong and why
    fix: str
    certain: bool = True  # False: a suspicion, which the lenient import only warns about
    source: str = ""  # the line of source, without its newline
    width: int = 1  # characters to underline
    function: str = ""  # qualified name of the function that it is in
    via: tuple[str, ...] = field(default=())  # how the body reaches that function, the body first

    def __str__(self) -> str:
        lines = [f"{self.file}:{self.line}:{self.column}: {self.message} [{self.rule}]"]
        if self.source.strip():
            indent = len(self.source) - len(self.source.lstrip())
            text = self.source.strip()
            start = max(0, self.column - 1 - indent)
            lines.append(f"    {text}")
            lines.append(f"    {' ' * start}{'^' * max(1, min(self.width, len(text) - start))}")
        if len(self.via) > 1:
            lines.append(f"  {'reached':<9} {' → '.join(self.via)}")
        lines.append(f"  {'fix':<9} {self.fix}")
        return "\n".join(lines)

    @property
    def place(self) -> tuple[str, int, int]:
        """Where it is; findings are told in this order."""
        return self.file, self.line, self.column


def character_column(source_line: str, byte_offset: int) -> int:
    """Turn the byte offset that `ast` counts in into a column from 1 that editors count in."""
    return len(source_line.encode("utf-8")[:byte_offset].decode("utf-8", "replace")) + 1


def finding_at(
    node: ast.AST,
    lines: Sequence[str],
    *,
    file: str,
    rule: str,
    message: str,
    fix: str,
    certain: bool = True,
    function: str = "",
    via: tuple[str, ...] = (),
) -> Finding:
    """Make the finding for a node of a file whose lines are given."""
    line = getattr(node, "lineno", 1)
    text = lines[line - 1].rstrip("\r\n") if 0 < line <= len(lines) else ""
    column = character_column(text, getattr(node, "col_offset", 0))
    end = len(text) + 1
    if getattr(node, "end_lineno", None) == line:
        end = character_column(text, getattr(node, "end_col_offset", 0) or 0)
    return Finding(file, line, column, rule, message, fix, certain, text, max(1, end - column), function, via)


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Drop repeated findings and sort the rest by place; one place keeps its findings of different rules."""
    unique = {(*finding.place, finding.rule): finding for finding in findings}
    return tuple(unique[key] for key in sorted(unique))


def tell(findings: Sequence[Finding], *, strict: bool, name: str) -> None:
    """Raise `PolicyViolation` for what is an error, warn of the rest at the author's own line.

    Raises:
        PolicyViolation: with all findings (strict), or with the certain ones (lenient), in line order.
    """
    refused = [finding for finding in findings if strict or finding.certain]
    for finding in findings:
        if finding not in refused:
            warnings.warn_explicit(
                f"{finding.message} [{finding.rule}]\n  fix       {finding.fix}",
                DeterminismWarning,
                finding.file,
                finding.line,
            )
    if refused:
        first = refused[0]
        count = "1 finding" if len(refused) == 1 else f"{len(refused)} findings"
        raise PolicyViolation(
            f"the policy refuses {name}: {count}.",
            where=f"{first.file}:{first.line}:{first.column}",
            findings=refused,
        )
