"""Which recorded runs a check is about.

Knows filters and shares. Must not know how a run is checked.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b

from perdure.errors import DefinitionError
from perdure.storage.ledger import RunFilter

_WHOLE = 2**64


@dataclass(frozen=True, slots=True)
class Selection:
    """Runs of a ledger.

    Attributes:
        wanted: the filter. sample: the share of what it admits, above 0 and at most 1.

    Raises:
        DefinitionError: the share is no share.
    """

    wanted: RunFilter = field(default_factory=lambda: RunFilter(limit=None))
    sample: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.sample <= 1:
            raise DefinitionError(
                f"a sample of {self.sample:g} is no share of the runs.",
                fix="give more than 0 and at most 1, such as 0.05",
            )

    def takes(self, run_id: str) -> bool:
        """Whether a run is in the sample: decided by its id alone, so that the same ledger gives the same sample."""
        return in_share(run_id, self.sample, "sample")


def in_share(run_id: str, share: float, draw: str) -> bool:
    """Whether a run is among this share of all runs. Depends on its id alone, so the answer is always the same.

    Args:
        draw: names who draws, so that a sampled check does not look at just the runs that were verified live.
    """
    if share >= 1:
        return True
    digest = blake2b(run_id.encode("utf-8", "surrogatepass"), digest_size=8, person=draw.encode()).digest()
    return int.from_bytes(digest, "big") < share * _WHOLE
