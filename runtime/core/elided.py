"""Two long texts that differ, cut down to what differs: equal parts become `…`.

Knows texts only. Both sides are cut at the same places, so that they stay comparable line above line.
"""

from __future__ import annotations

from difflib import SequenceMatcher

_WHOLE_MAX = 100  # characters up to which a text is shown whole
_KEPT = 16  # of an equal part, beside a difference
_HEAD = 24  # of an equal beginning: the name and the opening of its arguments
_COMPARED_MAX = 2_000  # above it, comparing within the middle would take longer than reading it helps
_PART_MAX = 160  # of one side's own part


def elide_equal(first: str, second: str) -> tuple[str, str]:
    """Shorten both texts where they are equal and long, and each one's own parts where they are very long."""
    if len(first) <= _WHOLE_MAX and len(second) <= _WHOLE_MAX:
        return first, second
    if first == second:
        return shortened(first), shortened(second)
    head = _equal_beginning(first, second)
    rest_first, rest_second = first[head:], second[head:]
    tail = _equal_beginning(rest_first[::-1], rest_second[::-1])
    middle_first = rest_first[: len(rest_first) - tail]
    middle_second = rest_second[: len(rest_second) - tail]
    middle_first, middle_second = _middles(middle_first, middle_second)
    before = _equal(first[:head], _HEAD, _KEPT)
    after = _equal(first[len(first) - tail :] if tail else "", _KEPT, _KEPT)
    return before + middle_first + after, before + middle_second + after


def shortened(text: str, limit: int = 300) -> str:
    """Cut a text to `limit` characters and say how long it was."""
    if len(text) <= limit:
        return text
    return f"{text[:limit]}… ({len(text):,} characters)"


def _middles(first: str, second: str) -> tuple[str, str]:
    if max(len(first), len(second)) > _COMPARED_MAX:
        return shortened(first, _PART_MAX), shortened(second, _PART_MAX)
    shown_first, shown_second = [], []
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, first, second, autojunk=False).get_opcodes():
        if tag == "equal":
            shown_first.append(_equal(first[i1:i2], _KEPT, _KEPT))
            shown_second.append(_equal(first[i1:i2], _KEPT, _KEPT))
        else:
            shown_first.append(shortened(first[i1:i2], _PART_MAX))
            shown_second.append(shortened(second[j1:j2], _PART_MAX))
    return "".join(shown_first), "".join(shown_second)


def _equal_beginning(first: str, second: str) -> int:
    for index, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return index
    return min(len(first), len(second))


def _equal(text: str, head: int, tail: int) -> str:
    return text if len(text) <= head + tail + 4 else f"{text[:head]}…{text[-tail:]}"
