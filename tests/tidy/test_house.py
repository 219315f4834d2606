"""The house is tidy: sizes, names, seams, errors, tests. Exceptions are in ratchet.json, and may only become fewer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import house
import pytest

from perdure import errors
from perdure.errors import LedgerError, PerdureError, WorkflowError

RATCHET: dict[str, Any] = json.loads((Path(__file__).parent / "ratchet.json").read_text(encoding="utf-8"))
ROOTS = {PerdureError, WorkflowError, LedgerError}


def _texts(paths: Any) -> dict[str, str]:
    return {path.relative_to(house.ROOT).as_posix(): path.read_text(encoding="utf-8") for path in paths}


@pytest.fixture(scope="module")
def package() -> dict[str, str]:
    """Every Python file of the package, by its path."""
    files = _texts(house.package_files())
    assert len(files) > 100
    return files


@pytest.fixture(scope="module")
def everything() -> dict[str, str]:
    """Every text file of the project, by its path."""
    files = _texts(house.all_files())
    assert {"README.md", "Makefile", ".ci/run", "docs/errors.md", "tests/tidy/test_house.py"} <= set(files)
    return files


def test_files_are_short_enough_to_hold_in_mind(package: dict[str, str]) -> None:
    assert house.long_files(package) == RATCHET["long_files"], "split it, or lower its number in ratchet.json"


def test_functions_fit_a_screen(package: dict[str, str]) -> None:
    assert house.long_functions(package) == RATCHET["long_functions"], "split it, or lower its number in ratchet.json"


def test_names_of_files_say_something(everything: dict[str, str]) -> None:
    assert house.vague_names(everything) == []


def test_no_test_has_the_file_name_of_another(everything: dict[str, str]) -> None:
    assert house.namesakes(everything) == []


def test_every_file_says_what_it_knows(package: dict[str, str]) -> None:
    assert house.without_docstring(package) == []


def test_every_error_is_raised_somewhere(package: dict[str, str]) -> None:
    classes = {
        name
        for name, each in vars(errors).items()
        if isinstance(each, type) and issubclass(each, (PerdureError, Warning)) and each not in ROOTS
    }
    used = {name: text for name, text in package.items() if name != "runtime/errors.py"}
    assert classes - house.made_classes(used) == set(RATCHET["never_raised"])


def test_who_catches_everything_says_who_handles_it(package: dict[str, str]) -> None:
    assert house.silent_excepts(package) == []


def test_one_file_opens_duckdb(package: dict[str, str]) -> None:
    assert house.importers(package, "duckdb") == {"storage/database.py"}


def test_only_the_sandbox_knows_restricted_python(package: dict[str, str]) -> None:
    found = house.importers(package, "RestrictedPython")
    assert found
    assert all(name.startswith("sandbox/") for name in found)


def test_one_file_of_the_runtime_reads_the_real_clock_and_entropy(package: dict[str, str]) -> None:
    found = {name for name in house.readers_of_the_world(package) if not name.startswith("sandbox/stand_ins/")}
    assert found == {
        "runtime/engine/clock.py",
        "sandbox/libraries.py",  # names the real ones, to tell bodies' uses of them
        "storage/duckdb_ledger.py",  # a new ledger's own number
        "runtime/services/redis.py",  # names that no other process gives, in a Redis that they share
        "runtime/services/postgres.py",  # likewise, in a PostgreSQL
        "runtime/services/fsspec_storage.py",  # likewise, in a file system
    }


def test_what_decides_has_not_even_a_stopwatch(package: dict[str, str]) -> None:
    deciding = ("runtime/core/", "runtime/declare/", "storage/encoding.py", "storage/fold.py", "storage/chain.py")
    files = {name: text for name, text in package.items() if name.startswith(deciding)}
    assert len(files) > 15
    assert house.users_of_stopwatches(files) | house.readers_of_the_world(files) == set()


def test_the_project_speaks_of_itself_alone(everything: dict[str, str]) -> None:
    listing = {"tests/tidy/house.py", "tests/tidy/test_house.py"}  # the patterns, and what they find
    others = {name: text for name, text in everything.items() if name not in listing}
    assert house.foreign_words(others) == []


def test_every_test_can_fail(everything: dict[str, str]) -> None:
    tests = {name: text for name, text in everything.items() if name.startswith("tests/") and name.endswith(".py")}
    assert set(house.tests_that_prove_nothing(tests)) == set(RATCHET["tests_without_assertion"])


# ── and these rules notice ───────────────────────────────────────────────────────────────────────

LONG = "x = 1\n" * 501
LONG_FUNCTION = "def f():\n" + "    x = 1\n" * 70
BREACHES: dict[str, tuple[Callable[[dict[str, str]], Any], str, str]] = {
    "long file": (house.long_files, LONG, LONG[:-6]),
    "long function": (house.long_functions, LONG_FUNCTION, LONG_FUNCTION[:-10]),
    "no docstring": (house.without_docstring, "x = 1\n", '"""Knows x."""\n\nx = 1\n'),
    "empty file": (house.without_docstring, "#\n", "\n"),
    "silent except": (
        house.silent_excepts,
        "try:\n    f()\nexcept Exception:  # noqa: BLE001\n    pass\n",
        "try:\n    f()\nexcept Exception:  # noqa: BLE001  # f's caller logs it\n    pass\n",
    ),
    "bare except": (
        house.silent_excepts,
        "try:\n    f()\nexcept:\n    g()\n",
        "try:\n    f()\nexcept:\n    # g tells\n    g()\n",
    ),
    "except in a tuple": (
        house.silent_excepts,
        "try:\n    f()\nexcept (OSError, BaseException):\n    g()\n",
        "try:\n    f()\nexcept (OSError, BaseException):\n    g()\n    raise\n",
    ),
    "clock": (house.readers_of_the_world, "import time\ntime.time_ns()\n", "import time\ntime.sleep(1)\n"),
    "renamed clock": (house.readers_of_the_world, "from time import time as now\nnow()\n", "def time(): ...\ntime()\n"),
    "calendar": (house.readers_of_the_world, "import datetime as d\nd.datetime.now()\n", "self.datetime.now()\n"),
    "entropy": (house.readers_of_the_world, "from os import urandom\nurandom(8)\n", "import os\nos.getpid()\n"),
    "random": (house.readers_of_the_world, "import random\nrandom.choice(x)\n", "import random\nrandom.Random(1)\n"),
    "stopwatch": (house.users_of_stopwatches, "import time\ntime.monotonic()\n", "import time\ntime.time()\n"),
    "place": (house.foreign_words, "see /home/ada/x.py\n", "see examples/x.py, a framework/library\n"),
    "another place": (house.foreign_words, "run /tmp/venv/bin/python\n", "run .venv/bin/python, /usr/bin/python\n"),
    "workplace": (house.foreign_words, "as an earlier session found\n", "an interactive session\n"),
    "nothing proved": (house.tests_that_prove_nothing, "def test_a():\n    f()\n", "def test_a():\n    assert f()\n"),
    "proved by a call": (
        house.tests_that_prove_nothing,
        "def told(x):\n    print(x)\ndef test_a():\n    told(1)\n",
        "def told(x):\n    assert x\ndef again(x):\n    told(x)\ndef test_a():\n    again(1)\n",
    ),
}


@pytest.mark.parametrize("name", BREACHES)
def test_a_rule_notices_a_breach_and_nothing_else(name: str) -> None:
    rule, breach, fine = BREACHES[name]
    assert rule({"tests/test_x.py": breach})
    assert not rule({"tests/test_x.py": fine})


def test_a_function_of_the_same_name_elsewhere_proves_nothing_and_hides_nothing() -> None:
    proving, idle = "def told():\n    assert f()\n", "def told():\n    f()\n"
    test = "def test_a():\n    told()\n"
    assert house.tests_that_prove_nothing({"tests/test_a.py": idle + test, "tests/b.py": proving}) == [
        "tests/test_a.py:test_a"
    ]
    assert house.tests_that_prove_nothing({"tests/test_a.py": proving + test, "tests/test_b.py": idle}) == []
    assert house.tests_that_prove_nothing({"tests/test_a.py": test, "tests/b.py": proving}) == []
    assert house.tests_that_prove_nothing({"tests/test_a.py": test, "tests/b.py": proving, "tests/c.py": idle})


def test_vague_names_are_noticed() -> None:
    assert house.vague_names(["runtime/utils.py", "runtime/misc/a.py", "runtime/engine.py"]) == [
        "runtime/utils.py",
        "runtime/misc/a.py",
    ]


def test_namesakes_are_noticed() -> None:
    files = ["tests/a/test_x.py", "tests/b/test_x.py", "tests/b/test_y.py", "runtime/test_y.py", "tests/b/page.md"]
    assert house.namesakes([*files, "tests/a/conftest.py", "tests/b/conftest.py"]) == files[:2]


def test_importers_are_noticed_under_any_form() -> None:
    files = {
        "a": "import duckdb",
        "b": "from duckdb.typing import X",
        "c": "def f():\n    import duckdb as d",
        "d": "import duckdbx\nfrom . import duckdb",
    }
    assert house.importers(files, "duckdb") == {"a", "b", "c"}


def test_classes_that_are_only_mentioned_do_not_count_as_raised() -> None:
    files = {"a": "try:\n    f()\nexcept Lost:\n    raise Made('x')\nwarnings.warn('m', Warned)\n"}
    assert {"Made", "Warned"} <= house.made_classes(files)
    assert "Lost" not in house.made_classes(files)
