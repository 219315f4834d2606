"""What a new project consists of: one of the examples, and around it what every project has.

Knows the examples as they are shipped (`perdure.templates`), and texts. Must not know the command line, and writes
nothing.
"""

from __future__ import annotations

import ast
import difflib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import PurePosixPath
from typing import Final

from perdure.errors import DefinitionError
from perdure.version import __version__

#: What a new project is made from when nobody says: short, and with something to undo.
DEFAULT: Final = "saga"

WORKFLOWS: Final = "workflows.py"
_IGNORED: Final = ".gitignore"
_KEPT: Final = (".py", ".history.jsonl", _IGNORED)  # of an example's folder; what running it leaves behind stays there

_PYPROJECT: Final = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "{name}"
version = "0.1.0"
description = {summary}
readme = "README.md"
requires-python = ">={python}"
dependencies = ["perdure>={perdure}"]

[project.optional-dependencies]
test = ["perdure[testing]>={perdure}", "pytest>=9"]

[tool.setuptools]
py-modules = [{modules}]

[tool.pytest.ini_options]
testpaths = ["tests"]
pythonpath = ["."]
filterwarnings = ["error"]
perdure_workflows = "workflows.py"
"""

_README: Final = """\
# {name}

{docstring}

```console
$ pip install -e ".[test]"
$ python workflows.py         # plays it once, on a ledger of its own
$ pytest                      # the tests, and every history in tests/histories
$ replay-check tests/histories --workflows workflows.py
```

A worker goes on with what is open until it is stopped: `perdure run {ledger} --workflows workflows.py`.
What happened in a run: `perdure runs {ledger}`, then `perdure show {ledger} RUN`.

## Before a change is deployed

`tests/histories` has runs as they were recorded. A body that no longer does what it did then would strand the runs that
are open, so CI replays them on every change (`.github/workflows/ci.yml`). Keep a run worth keeping with

```console
$ perdure history export {ledger} RUN --workflows workflows.py --out tests/histories
```

`--redact` replaces what must not leave production. A whole ledger can be replayed as well, from a copy that was taken
while its worker was stopped: `replay-check {ledger} --workflows workflows.py --jobs auto`.
"""

_CI: Final = """\
name: ci
on:
  pull_request:
  push:
    branches: [main]

jobs:
  test:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with:
          python-version: "{python}" # the one that production runs: replays across minor versions may differ
      - name: Install
        run: pip install ".[test]"
      - name: Test
        run: pytest
      - name: Replay what was recorded on this change
        run: replay-check tests/histories --workflows workflows.py --junit replay.xml
      - uses: actions/upload-artifact@v4
        if: always()
        with:
          name: replay
          path: replay.xml
"""

_GITIGNORE: Final = """\
__pycache__/
*.egg-info/
.pytest_cache/
.hypothesis/
*.duckdb
*.duckdb.*
*.sqlite
replay.xml
"""


@dataclass(frozen=True, slots=True)
class Example:
    """One of the programs that projects start from."""

    name: str
    folder: Traversable

    @property
    def docstring(self) -> str:
        """What `workflows.py` says of itself."""
        return ast.get_docstring(ast.parse(self.folder.joinpath(WORKFLOWS).read_text(encoding="utf-8"))) or ""

    @property
    def summary(self) -> str:
        """The first line of it, without the title that it begins with."""
        line = self.docstring.partition("\n")[0]
        return line.partition(": ")[2] or line

    def files(self) -> dict[str, str]:
        """Its own files: paths below the project's folder, and their texts."""
        return dict(sorted(_texts(self.folder, PurePosixPath())))


def _texts(folder: Traversable, below: PurePosixPath) -> Iterator[tuple[str, str]]:
    for each in folder.iterdir():
        if each.is_dir() and not each.name.startswith((".", "__")):
            yield from _texts(each, below / each.name)
        elif each.name.endswith(_KEPT):
            yield str(below / each.name), each.read_text(encoding="utf-8")


def find_examples() -> list[Example]:
    """All examples, by name."""
    folders = [each for each in files("perdure.templates").iterdir() if each.joinpath(WORKFLOWS).is_file()]
    return sorted((Example(each.name.replace("_", "-"), each) for each in folders), key=lambda example: example.name)


def find_example(name: str) -> Example:
    """The example of a name.

    Raises:
        DefinitionError: there is none.
    """
    known = {example.name: example for example in find_examples()}
    wanted = name.replace("_", "-")
    if wanted not in known:
        near = difflib.get_close_matches(wanted, known, n=1)
        raise DefinitionError(
            f"there is no example {name!r}.",
            why=f"there are: {', '.join(known)}",
            fix=f"did you mean {near[0]!r}?" if near else "see what each shows: perdure new --list",
        )
    return known[wanted]


def project_files(name: str, example: Example) -> dict[str, str]:
    """All files of a project: paths below its folder, and their texts."""
    own = example.files()
    modules = [file.removesuffix(".py") for file in own if file.endswith(".py") and "/" not in file]
    words = {
        "name": name,
        "summary": '"' + example.summary.replace("\\", "\\\\").replace('"', '\\"') + '"',
        "docstring": example.docstring,
        "perdure": __version__,
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "modules": ", ".join(f'"{module}"' for module in modules),
        "ledger": f"{example.folder.name}.duckdb",
    }
    return {
        "README.md": _README.format_map(words),
        "pyproject.toml": _PYPROJECT.format_map({**words, "python": "3.11"}),
        **own,
        ".github/workflows/ci.yml": _CI.format_map(words),
        _IGNORED: _GITIGNORE + own.get(_IGNORED, ""),
    }
