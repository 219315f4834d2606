"""The values of one history that patterns selected, and what stands for each wherever it is written.

Knows texts of values and the names of their types. Must not know patterns, nor what an entry is.
"""

from __future__ import annotations

import io
import re
import tokenize
from typing import Any, Final

from perdure.replay.leaves import Number, Path
from perdure.replay.placeholders import STAND_IN, Placeholders
from perdure.replay.spellings import CHARACTERS_MIN, respelled

#: Texts from this length on are also replaced inside of longer words, and numbers from so many digits on everywhere.
FAR_CHARACTERS: Final = 4
FAR_DIGITS: Final = 6

#: What of source code can hold a value; a name that happens to be spelled like one is code.
_LITERALS: Final = frozenset({"STRING", "NUMBER", "COMMENT", "FSTRING_MIDDLE"})


class Selected:
    """Values and their stand-ins.

    Attributes:
        captured: digests by which closures name long values, before and after.
    """

    def __init__(self, placeholders: Placeholders) -> None:
        self._placeholders = placeholders
        self._exact: dict[tuple[str, str], str] = {}
        self._named: set[tuple[str, Any]] = set()  # values by the name of the field that they were selected in
        self._anywhere: dict[str, str] = {}  # what is replaced wherever it stands
        self._words: dict[str, str] = {}  # what is replaced where it is not a part of a longer word or number
        self._pattern: re.Pattern[str] | None = None  # finds all of these; made when first asked for
        self._folded: tuple[str, ...] = ()  # long texts in lower case, which must not be read in any case
        self.captured: dict[str, str] = {}

    def __bool__(self) -> bool:
        return bool(self._exact or self._named)

    def add(self, kind: str, value: Any, path: Path) -> bool:
        """Take a value; False when there is no stand-in of its type."""
        if value is None or value == "":
            return True
        self._named.add((_field(path), value))
        if isinstance(value, bool):
            return True
        text = str(value)
        stand_in = self._stand_in(kind, value)
        if stand_in is None:
            return False
        self._exact[kind, text] = stand_in
        self._pattern = None
        if isinstance(value, Number):
            if len(text) >= FAR_DIGITS:
                self._words[text] = stand_in
                self._words.update(respelled(kind, text, stand_in))
        elif kind == "Decimal":  # 1.50 is no part of 21.50
            self._words[text] = stand_in
            self._words.update(respelled(kind, text, stand_in))
        elif len(text) >= FAR_CHARACTERS:
            self._anywhere.update(respelled(kind, text, stand_in))
            self._anywhere[text] = stand_in
            if len(text) >= CHARACTERS_MIN:
                self._folded += (text.casefold(),)
        elif len(text) > 1 and text.isalpha():
            self._words[text] = stand_in
        return True

    def readable_in(self, text: str) -> bool:
        """Whether what must not be read anywhere can be read here."""
        text = STAND_IN.sub("", text)
        folded = text.casefold()
        return self._finder().search(text) is not None or any(each in folded for each in self._folded)

    def replaced(self, kind: str, value: Any, path: Path = (), *, here: bool = False) -> Any:
        """What a leaf becomes; `here` when a pattern selects this very one."""
        field = _field(path)
        here = here or (field != "" and (field, value) in self._named)
        if isinstance(value, bool):
            return False if here else value
        if value is None:
            return None
        if isinstance(value, Number):
            return self._replaced_number(kind, value, here)
        exact = self._exact.get((kind, str(value)))
        if exact is not None:
            return exact
        if kind in ("bytes", "bytearray"):
            return self._anywhere.get(value, value)  # a text that was encoded
        return self.replaced_inside(value) if kind in ("str", "url") else value

    def replaced_inside(self, text: str) -> str:
        """A text with stand-ins for what it has of selected values."""
        return self._finder().sub(lambda found: self._standing_for(found[0]), text)

    def replaced_in_source(self, source: str) -> str:
        """Python source with stand-ins in its literals and comments."""
        if not self.readable_in(source):
            return source
        lines = source.splitlines(keepends=True)
        try:
            tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
        except (tokenize.TokenError, SyntaxError):  # of another Python: rather too much is replaced than too little
            return self.replaced_inside(source)
        for token in reversed(tokens):  # backwards, so that positions stay true
            if tokenize.tok_name[token.type] not in _LITERALS:
                continue
            (first, start), (last, stop) = token.start, token.end
            text = lines[first - 1][:start] + self.replaced_inside(token.string) + lines[last - 1][stop:]
            lines[first - 1 : last] = [text]
        return "".join(lines)

    def _replaced_number(self, kind: str, value: Number, here: bool) -> Number:
        exact = self._exact.get((kind, value))
        if exact is not None and (here or len(value) >= FAR_DIGITS):
            return Number(exact)
        negated = value[1:] if value.startswith("-") else f"-{value}"  # a refund of what was paid
        exact = self._exact.get((kind, negated)) if len(negated) >= FAR_DIGITS else None
        if exact is None:
            return value
        return Number(exact[1:] if exact.startswith("-") else f"-{exact}")

    def _finder(self) -> re.Pattern[str]:
        if self._pattern is None:
            # In one pass, so that no stand-in is looked into; the longest first, so that none is cut short.
            texts = sorted({*self._anywhere, *self._words}, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(self._as_pattern, texts)) or r"(?!)")
        return self._pattern

    def _as_pattern(self, text: str) -> str:
        if text in self._anywhere:
            return re.escape(text)
        zeros = "(?=0*(?![0-9A-Za-z]))" if "." in text else "(?![0-9A-Za-z])"  # 1.5 may be shown as 1.500
        return rf"(?<![0-9A-Za-z]){re.escape(text)}{zeros}"

    def _standing_for(self, text: str) -> str:
        stand_in = self._anywhere.get(text)
        return stand_in if stand_in is not None else self._words[text]

    def _stand_in(self, kind: str, value: Any) -> str | None:
        if isinstance(value, Number):
            return self._placeholders.number(value)
        return self._placeholders.scalar(kind, value) if isinstance(value, str) else None


def _field(path: Path) -> str:
    """The name of the field that a leaf is, or lies in a list of."""
    return next((part for part in reversed(path) if not part.isdigit()), "")
