"""Check with mypy, strictly, that programs as users write them have types: `bodies.py` beside this, and all examples.

`make check` runs it after the package's own check, whose cache it shares; by itself it takes half a minute.
Each example is a program of its own, whose modules are called as in its neighbours. So they are copied, each into a
package of its name.
"""

import re
import subprocess
import sys
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
EXAMPLES = ROOT / "examples"
FLAGS = ["--strict", "--explicit-package-bases", "--namespace-packages", "--no-error-summary", "--no-pretty"]
#: Tests leave out annotations that pytest fills; what they do annotate is checked all the same.
IN_TESTS = "[mypy]\ncheck_untyped_defs = True\n[mypy-*.tests.*]\ndisallow_untyped_defs = False\n\
disallow_incomplete_defs = False\ndisallow_untyped_calls = False\n"

REFUSED = re.compile(r"#\s*E: (?P<code>[a-z-]+)$")
FOUND = re.compile(r"^(?P<file>[^:]+):(?P<line>\d+): error: .*  \[(?P<code>[a-z-]+)\]$")
CACHE = str(ROOT / ".mypy_cache")


def copy_programs(target: Path) -> None:
    """Copy the modules of every example, in the form of a package."""
    programs = {*(file.parent for file in EXAMPLES.glob("patterns/*/workflows.py")), EXAMPLES / "frameworks"}
    for program in sorted(programs):
        own = "|".join(sorted(file.stem for file in program.glob("*.py")))
        for file in [*program.glob("*.py"), *program.glob("tests/*.py")]:
            copy = target / program.name / file.relative_to(program)
            copy.parent.mkdir(parents=True, exist_ok=True)
            text = re.sub(
                rf"^(\s*)from ({own}) import", rf"\1from {program.name}.\2 import", file.read_text(), flags=re.M
            )
            copy.write_text(re.sub(rf"^(\s*)import ({own})$", rf"\1from {program.name} import \2", text, flags=re.M))
    for file in EXAMPLES.glob("*.py"):
        copyfile(file, target / file.name)
    copyfile(HERE / "bodies.py", target / "bodies.py")


def expected() -> set[tuple[str, int, str]]:
    """The lines of `bodies.py` that must be refused, and by which rule."""
    lines = (HERE / "bodies.py").read_text().splitlines()
    marked = [(number, REFUSED.search(line)) for number, line in enumerate(lines, 1)]
    return {("bodies.py", number, mark["code"]) for number, mark in marked if mark is not None}


def place_of(error: str) -> tuple[str, int, str]:
    """Where an error is, and by which rule; one about no line is nowhere that could be expected."""
    match = FOUND.match(error)
    return (error, 0, "") if match is None else (match["file"], int(match["line"]), match["code"])


def main() -> int:
    """Give 0 when mypy refuses what it should and nothing else."""
    with TemporaryDirectory() as folder:
        programs = Path(folder, "programs")
        programs.mkdir()
        copy_programs(programs)
        settings = Path(folder, "mypy.ini")
        settings.write_text(IN_TESTS)
        command = [sys.executable, "-m", "mypy", *FLAGS, "--config-file", str(settings), "--cache-dir", CACHE, "."]
        checked = subprocess.run(command, cwd=programs, capture_output=True, text=True, check=False)
    # What stands outside of the folder is the package's, which has a check of its own.
    errors = [line for line in checked.stdout.splitlines() if ": error: " in line and not line.startswith(("/", ".."))]
    found = {place_of(line): line for line in errors}
    missing = expected() - found.keys()
    wrong = [line for place, line in found.items() if place not in expected()]
    wrong += [f"{file}:{line}: should be refused as {code}, and is not" for file, line, code in sorted(missing)]
    print(*wrong, *([checked.stderr] if checked.stderr else []), sep="\n")
    print(f"Types of the examples and of bodies: {len(wrong)} wrong.")
    return 1 if wrong or checked.stderr else 0


if __name__ == "__main__":
    sys.exit(main())
