"""What must hold of the cells of a ledger: each is found, once, and can be read.

Cells change, and no chain of digests covers them: whoever writes the file can write any value. So this finds damage
and carelessness, and proves nothing of where a value came from.

This file knows what a sound cell is. It must not know how a ledger is gone through, nor import anyone's classes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from perdure.errors import ValueUnreadable
from perdure.storage.cells import cell_hash
from perdure.storage.decoding import decode
from perdure.storage.duckdb_ledger import DuckDBLedger
from perdure.storage.plain import parse

_PAGE_CELLS: Final = 20_000
_PAGE: Final = f"""
    SELECT space, "key", hash, body, shape, octet_length(data),
        value::JSON::VARCHAR IS NOT DISTINCT FROM
            CASE WHEN shown THEN TRY_CAST(TRY_CAST(body AS JSON) AS VARIANT) END::JSON::VARCHAR
    FROM _ledger.cells WHERE (space, "key") > (?, ?) ORDER BY space, "key" LIMIT {_PAGE_CELLS}
"""
_TWINS: Final = """
    SELECT space, "key", count(*) FROM _ledger.cells GROUP BY space, "key" HAVING count(*) > 1 ORDER BY ALL LIMIT 100
"""
#: Such shapes name classes; reading their values would import modules of the application.
_OF_A_CLASS: Final = re.compile(r'"(dataclass|model|namedtuple|enum|member|url)":')


class CellVerification:
    """The cells of a ledger, gone through once.

    Attributes:
        cells: how many there are, once they were gone through.
    """

    def __init__(self, ledger: DuckDBLedger) -> None:
        self._ledger = ledger
        self.cells = 0

    def faults(self) -> Iterator[str]:
        """Say what is not as it was written, one line for each."""
        for space, key, count in self._ledger.sql(_TWINS).rows:
            yield f"{_named(space, key)} is there {count} times, and any of them may be found"
        after = ("", "")
        while page := self._ledger.sql(_PAGE, after).rows:
            self.cells += len(page)
            for space, key, hashed, body, shape, size, is_shown_right in page:
                fault = _fault(space, key, hashed, body, shape, size)
                if fault is None and not is_shown_right:
                    fault = "the value that queries see is not what its body says"
                if fault is not None:
                    yield f"{_named(space, key)}: {fault}"
            after = page[-1][:2]


def _fault(space: str, key: str, hashed: int, body: str | None, shape: str | None, size: Any) -> str | None:
    if hashed != cell_hash(space, key):
        return "it can't be found: its hash is not that of its name"
    if body is None:
        return "it has neither a body nor data" if size is None else None
    try:
        if shape is None or _OF_A_CLASS.search(shape):
            parse(body)
            parse(shape or "null")
        else:
            decode(body, shape)
    except (ValueError, RecursionError, ValueUnreadable) as error:
        first, _, _ = str(error).partition("\n")
        return f"its body can't be read: {first}"
    return None


def _named(space: str, key: str) -> str:
    return f"cell {key!r} in {space!r}"
