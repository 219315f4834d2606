"""A simulation is a function of its seed and its faults, in any process."""

from __future__ import annotations

import os
import subprocess
import sys
from hashlib import blake2b
from pathlib import Path

import pytest
from scripts import Script

PRINT = """
import sys
sys.path.insert(0, sys.argv[1])
from test_same_seed import fingerprint
print(fingerprint(range(12)))
"""


def fingerprint(seeds: range) -> str:
    """All bytes on the disks and all words of the stories of some seeds."""
    digest = blake2b(digest_size=16)
    for seed in seeds:
        script = Script(seed)
        simulation = script.live(script.expected())
        digest.update(simulation.disk())
        digest.update(simulation.tell().partition("\nagain")[0].encode())
    return digest.hexdigest()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    assert fingerprint(range(5)) == fingerprint(range(5))
    assert fingerprint(range(5)) != fingerprint(range(1, 6))


@pytest.mark.parametrize(
    ("hash_seed", "zone"), [("1", "UTC"), ("77", "Asia/Kathmandu"), ("random", "America/St_Johns")]
)
def test_a_fresh_process_gives_the_same_bytes_whatever_its_hash_seed_and_time_zone(hash_seed: str, zone: str) -> None:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "TZ": zone}
    done = subprocess.run(
        [sys.executable, "-c", PRINT, str(Path(__file__).parent)],
        env=environment, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.strip() == fingerprint(range(12))
