"""The rules of the house as functions: a file in, a list of breaches out. `test_house.py` applies and tries them.

Knows Python's syntax. Must not know which breaches are tolerated: that is `ratchet.json`.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ("runtime", "sandbox", "storage")
FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70
VAGUE_NAMES = {
    "utils",
    "util",
    "helpers",
    "helper",
    "misc",
    "common",
    "manager",
    "handler",
    "handlers",
    "stuff",
    "base",
}

#: What the machine's clock and entropy are read with.
READS_OF_THE_WORLD = re.compile(
    r"time\.time(_ns)?|time\.(clock_gettime(_ns)?|localtime|gmtime)"
    r"|os\.(urandom|getrandom)"
    r"|secrets\.\w+"
    r"|uuid\.uuid[1467]"
    r"|(datetime\.)?(datetime|date)\.(now|utcnow|today)"
    r"|random\.(random|randint|randrange|randbytes|choice|choices|shuffle|sample|uniform|getrandbits|seed|SystemRandom)"
)

#: What measures how long something takes. It says nothing of the date, and whoever waits may use it.
STOPWATCHES = re.compile(r"time\.(monotonic|perf_counter|process_time|thread_time)(_ns)?")

#: What tells of one machine, or of who wrote this and how, instead of the project.
FOREIGN = re.compile(
    r"(?<![\w./-])/(work|root|home|Users|tmp|mnt)/[\w.]"
    r"|\b(this|that|another|earlier|previous|next|our) (session|helper)\b|\bthe (lead|brief)\b"
    r"|\bissue #?\d+|pypi\.org|pythonhosted\.org"
)


def package_files(root: Path = ROOT) -> list[Path]:
    """Every Python file that is installed."""
    return sorted(path for folder in PACKAGE for path in (root / folder).rglob("*.py"))


def all_files(root: Path = ROOT) -> Iterator[Path]:
    """Every text file of the project that is not made by a tool."""
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        hidden = any(part.startswith(".") and part not in (".ci", ".gitignore") for part in parts)
        made = any(part in ("__pycache__", "build", "dist") or part.endswith(".egg-info") for part in parts)
        if path.is_file() and not hidden and not made and b"\0" not in path.read_bytes()[:8192]:
            yield path


def functions(tree: ast.AST) -> Iterator[Function]:
    """Every function of a file, also nested ones."""
    return (node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))


# ── sizes and names ──────────────────────────────────────────────────────────────────────────────


def long_files(files: dict[str, str]) -> dict[str, int]:
    """The files that are too long, with their lines."""
    lengths = {name: len(text.splitlines()) for name, text in files.items()}
    return {name: lines for name, lines in lengths.items() if lines > FILE_LINES_MAX}


def long_functions(files: dict[str, str]) -> dict[str, int]:
    """The functions that don't fit a screen, as `file:name`, with their lines."""
    found = {}
    for name, text in files.items():
        for function in functions(ast.parse(text)):
            lines = (function.end_lineno or function.lineno) - function.lineno + 1
            if lines > FUNCTION_LINES_MAX:
                found[f"{name}:{function.name}"] = lines
    return found


def vague_names(files: Iterable[str]) -> list[str]:
    """Files and folders whose name says nothing."""
    return [name for name in files if {part.removesuffix(".py") for part in name.split("/")} & VAGUE_NAMES]


def namesakes(names: Iterable[str]) -> list[str]:
    """Modules of tests with the name of another one: pytest imports both under it, and can't collect the second."""
    found: dict[str, list[str]] = defaultdict(list)
    for name in names:
        folder, _, file = name.rpartition("/")
        if folder.startswith("tests/") and file.endswith(".py") and file != "conftest.py":
            found[file].append(name)
    return [name for names in found.values() if len(names) > 1 for name in names]


def without_docstring(files: dict[str, str]) -> list[str]:
    """Files that don't say what they know."""
    return [name for name, text in files.items() if text.strip() and not ast.get_docstring(ast.parse(text))]


# ── errors ───────────────────────────────────────────────────────────────────────────────────────


def made_classes(files: dict[str, str]) -> set[str]:
    """The names that are called like classes, or handed to `warnings`."""
    found = set()
    for text in files.values():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call):
                named = [node.func]
                if ast.unparse(node.func).startswith("warnings.warn"):
                    named += node.args
                found.update(each.id for each in named if isinstance(each, ast.Name))
    return found


def silent_excepts(files: dict[str, str]) -> list[str]:
    """Broad excepts that neither raise again nor say who handles what they catch, on their line or the next."""
    found = []
    for name, text in files.items():
        lines = text.splitlines()
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.ExceptHandler) or not _is_broad(node) or _raises_again(node):
                continue
            said = re.sub(r"#\s*noqa(: ?[A-Z0-9, ]+)?", "", lines[node.lineno - 1])
            if "#" not in said and not lines[node.lineno].strip().startswith("#"):
                found.append(f"{name}:{node.lineno}")
    return found


def _is_broad(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(isinstance(each, ast.Name) and each.id in ("Exception", "BaseException") for each in caught)


def _raises_again(handler: ast.ExceptHandler) -> bool:
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


# ── seams ────────────────────────────────────────────────────────────────────────────────────────


def importers(files: dict[str, str], module: str) -> set[str]:
    """The files that import a module, anywhere in them."""
    found = set()
    for name, text in files.items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                imported = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported = [node.module or ""]
            else:
                continue
            if any(each == module or each.startswith(f"{module}.") for each in imported):
                found.add(name)
    return found


def readers_of_the_world(files: dict[str, str]) -> set[str]:
    """The files that name the machine's clock or entropy, under whatever name they imported it."""
    return _naming(files, READS_OF_THE_WORLD)


def users_of_stopwatches(files: dict[str, str]) -> set[str]:
    """The files that measure how long something takes."""
    return _naming(files, STOPWATCHES)


def _naming(files: dict[str, str], wanted: re.Pattern[str]) -> set[str]:
    found = set()
    for name, text in files.items():
        tree = ast.parse(text)
        real: dict[str, str] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                real.update({alias.asname or alias.name: alias.name for alias in node.names})
            elif isinstance(node, ast.ImportFrom):
                real.update({alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names})
        for node in ast.walk(tree):
            if isinstance(node, (ast.Attribute, ast.Name)):
                first, dot, rest = ast.unparse(node).partition(".")
                if wanted.fullmatch(real.get(first, "") + dot + rest):
                    found.add(name)
    return found


def foreign_words(files: dict[str, str]) -> list[str]:
    """Lines that speak of something other than the project."""
    return [
        f"{name}:{number}: {found[0]}"
        for name, text in files.items()
        for number, line in enumerate(text.splitlines(), 1)
        if (found := FOREIGN.search(line))
    ]


# ── tests ────────────────────────────────────────────────────────────────────────────────────────


def tests_that_prove_nothing(files: dict[str, str]) -> list[str]:
    """Test functions without an assertion, of their own or in a function that they call."""
    known = {(name, each.name): each for name, text in files.items() for each in functions(ast.parse(text))}
    homes: defaultdict[str, list[str]] = defaultdict(list)  # the files that have a function of that name
    for name, function in known:
        homes[function].append(name)
    proving: set[tuple[str, str]] = set()

    def proves(name: str, function: Function) -> bool:
        for each in _called(function):  # means what its own file has of it, if that has one, else whichever there is
            meant = [(home, each) for home in ([name] if name in homes[each] else homes[each])]
            if meant and proving.issuperset(meant):
                return True
        return _asserts(function)

    while more := {place for place in known if place not in proving and proves(place[0], known[place])}:
        proving |= more
    return [
        f"{name}:{function}"
        for name, function in known
        if name.rpartition("/")[2].startswith("test_")
        and function.startswith("test_")
        and (name, function) not in proving
    ]


def _asserts(function: Function) -> bool:
    return any(isinstance(node, ast.Assert) for node in _inside(function)) or any(
        re.search(r"raises|warns|fail|check|assert|expect|verify", name) for name in _called(function)
    )


def _called(function: Function) -> set[str]:
    names = set()
    for node in _inside(function):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                names.add(node.func.id)
            elif isinstance(node.func, ast.Attribute):
                names.add(node.func.attr)
    return names


def _inside(function: Function) -> Iterator[ast.AST]:
    """What is in its body: what its decorators call proves nothing of it."""
    for statement in function.body:
        yield from ast.walk(statement)
