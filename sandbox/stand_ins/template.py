"""`string.Template` in a body: the real one, whose values are shown without addresses."""

from __future__ import annotations

import string as real
from collections.abc import Mapping
from typing import Final

from perdure.sandbox import formatting


def _shown(values: Mapping[str, object]) -> dict[str, object]:
    return {name: formatting.shown(value) for name, value in values.items()}


class Template(real.Template):
    """A text with `$names` to be filled in."""

    def substitute(self, mapping: Mapping[str, object] = {}, /, **kws: object) -> str:  # never written to
        return super().substitute(_shown({**mapping, **kws}))

    def safe_substitute(self, mapping: Mapping[str, object] = {}, /, **kws: object) -> str:  # likewise
        return super().safe_substitute(_shown({**mapping, **kws}))


STAND_INS: Final[dict[str, object]] = {"Template": Template}
