"""The fields of a cron expression, and what is wrong with one that can't be used.

Knows how people write fields. Must not know when one matches.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NoReturn

from croniter import CroniterError, croniter

from perdure.errors import DefinitionError
from perdure.texts import did_you_mean

_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
#: What stands for a whole expression.
ALIASES: Final[Mapping[str, str]] = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_SHAPES: Final = "5 fields (minute hour day month weekday), or 6 with the seconds first"


@dataclass(frozen=True)
class Field:
    """One field: its name, its range, and what else it takes."""

    name: str
    least: int
    most: int
    words: tuple[str, ...] = field(default=())
    also: str = ""

    @property
    def allowed(self) -> str:
        """What may be written there."""
        return (
            f"give a number from {self.least} to {self.most}, * (all), a list (1,3), a range (1-5) or a step (*/2)"
            f"{self.also}"
        )


SECOND: Final = Field("second", 0, 59)
FIELDS: Final = (
    Field("minute", 0, 59),
    Field("hour", 0, 23),
    Field("day of the month", 1, 31, ("l", "w"), ", L (the last day) or 15W (the working day nearest to the 15th)"),
    Field("month", 1, 12, _MONTHS, ", or jan to dec"),
    Field(
        "day of the week", 0, 7, (*_DAYS, "l"), ", sun to sat (0 and 7 are Sunday), fri#2 (the second), L5 (the last)"
    ),
)


def fields_of(expression: str) -> list[str]:
    """The five or six fields of an expression, as they are written.

    Raises:
        DefinitionError: there are fewer or more, or it is an alias that does not exist.
    """
    text = expression.strip()
    if text.startswith("@"):
        text = text.lower()
        if text not in ALIASES:
            why = "when a machine starts is nothing that a schedule knows" if text == "@reboot" else ""
            raise DefinitionError(
                f"cron {expression!r} can't be used.",
                why=why or "it stands for nothing",
                fix=did_you_mean(text, ALIASES),
            )
        text = ALIASES[text]
    found = text.split()
    if len(found) not in (len(FIELDS), len(FIELDS) + 1):
        counted = "no fields" if not found else "1 field" if len(found) == 1 else f"{len(found)} fields"
        raise DefinitionError(
            f"cron {expression!r} has {counted}.",
            why="there is no field for years" if len(found) == len(FIELDS) + 2 else "",
            fix=f"write {_SHAPES}: " + '"0 3 * * *" is every day at 03:00, "0 0 3 * * *" the same',
        )
    return found


def refuse_bad_field(expression: str, texts: Sequence[str]) -> None:
    """Look at each field alone, and refuse the first that can't be used.

    Raises:
        DefinitionError: with its name, its text, why, and what is allowed.
    """
    fields = FIELDS if len(texts) == len(FIELDS) else (SECOND, *FIELDS)
    for index, (each, text) in enumerate(zip(fields, texts, strict=True)):
        why = _surprise(text.lower()) or _long_step(each, text)
        if not why:
            alone = ["*"] * len(texts)
            alone[index] = text
            try:
                croniter.expand(" ".join(alone), second_at_beginning=True)
                continue
            except CroniterError:
                why = _why(each, text.lower())
        if len(texts) > len(FIELDS):
            why += "; of six fields the first is the second, and none is for years"
        raise DefinitionError(
            f"cron {expression!r} can't be used: its {each.name} is {text!r}.", why=why, fix=each.allowed
        )


def refuse_unreadable(expression: str, error: Exception) -> NoReturn:
    """Refuse an expression whose fields can be read one by one, and not together."""
    raise DefinitionError(f"cron {expression!r} can't be used.", why=str(error), fix=f"write {_SHAPES}") from None


def _surprise(text: str) -> str:
    """Why a text that croniter takes means something else than its writer thinks; empty when it does not."""
    if re.match(r"[hr](\(|/|$)", text):
        return "it is drawn anew, or from a name, so that nobody can tell when it is"
    same = re.search(r"(?:^|,)(\w+)-\1(?:/|,|$)", text)
    return f"{same[0].strip(',/')} is a range of one: write {same[1]}, or * for all" if same else ""


def _long_step(each: Field, text: str) -> str:
    """Why a step means something else than its writer thinks, because nothing of its range is left but the first."""
    for start, step in re.findall(r"(?:^|,)(\*|\d+-\d+)/(\d+)(?=,|$)", text):
        first, last = (each.least, each.most) if start == "*" else map(int, start.split("-"))
        if last >= first and int(step) > last - first:
            return f"a step of {step} leaves {first} alone of {first} to {last}: write {first} if that is meant"
    return ""


def _why(each: Field, text: str) -> str:
    if re.search(r"/0+(?:,|$)", text):
        return "a step of 0 never goes on"
    for number in re.findall(r"(?<![/#\d])\d+", text):
        if not each.least <= int(number) <= each.most:
            return f"{number} is not from {each.least} to {each.most}"
    for word in re.findall(r"[^\W\d_]+", text):
        if word not in each.words:
            names = [name for name in each.words if len(name) > 1]
            return f"{word!r} is no name here" + (f"; {did_you_mean(word, names)}" if names else "")
    if "#" in text:
        return "after # comes which one of the month, 1 to 5, and the whole field is written so or none of it"
    if text == "l" and "l" in each.words:
        return "it does not say which: L5 is the last Friday"
    if "w" in each.words and "w" in text:
        return "W goes with a single day, in no list or range"
    return "it can't be read"
