"""Without being told, commands find workflows in the usual places; what can't be used is told beside what can."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FLOW = """\
from perdure.strict import workflow

@workflow(id="{id}", version="{version}")
async def {name}(input: str, step) -> str:
    return input
"""


def flow(id: str, version: str = "1") -> str:
    return FLOW.format(id=id, version=version, name=id.replace("-", "_"))


@pytest.fixture
def folder(shop: Any) -> Iterator[Path]:
    """The shop's folder without its module; modules that a test imports are forgotten after it."""
    shop.module.unlink()
    before = set(sys.modules)
    yield shop.folder
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(shop.folder)) or name == "billing":
            del sys.modules[name]


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def listed(shop: Any, *arguments: str) -> list[tuple[str, str]]:
    return [(each["id"], each["body"]) for each in shop.json("list", *arguments)]


def test_a_folder_and_the_folders_in_it_are_listed_in_order(shop: Any, folder: Path) -> None:
    write(folder, workflows__orders=flow("order"), workflows__billing__refunds=flow("refund"))
    assert listed(shop) == [("refund", "billing.refunds:refund"), ("order", "orders:order")]
    shown = shop.ok("list")
    assert shown.split()[:4] == ["id", "version", "digest", "where"]
    assert "workflows/billing/refunds.py:3" in shown


def test_modules_of_a_plain_folder_import_each_other_by_name(shop: Any, folder: Path) -> None:
    write(folder, workflows__names="PREFIX = 'order'\n", workflows__orders="import names\n" + flow("order"))
    assert listed(shop) == [("order", "orders:order")]


def test_a_package_is_imported_as_a_package(shop: Any, folder: Path) -> None:
    write(folder, workflows__orders="from .names import PREFIX\n" + flow("order"), workflows__names="PREFIX = 'o'\n")
    (folder / "workflows" / "__init__.py").write_text("from .orders import order\n")
    assert listed(shop) == [("order", "workflows.orders:order")]  # once, though two modules have it


def test_a_file_in_a_package_has_the_package_s_name(shop: Any, folder: Path) -> None:
    write(folder, store__flows__orders=flow("order"))
    (folder / "store" / "__init__.py").write_text("")
    (folder / "store" / "flows" / "__init__.py").write_text("")
    assert listed(shop, "store/flows/orders.py") == [("order", "store.flows.orders:order")]
    assert listed(shop, "store") == [("order", "store.flows.orders:order")]


def test_workflows_py_is_found_where_there_is_no_folder_with_modules(shop: Any, folder: Path) -> None:
    (folder / "workflows").mkdir()
    (folder / "workflows" / "ci.yml").write_text("on: push\n")
    write(folder, workflows=flow("order"))
    assert listed(shop) == [("order", "workflows:order")]


def test_where_both_are_the_folder_counts_and_the_other_is_named(shop: Any, folder: Path) -> None:
    write(folder, workflows=flow("other"), workflows__orders=flow("order"))
    result = shop("list")
    assert result.exit_code == 0
    assert "order" in result.stdout
    assert "other" not in result.stdout
    assert "workflows.py was not looked at" in result.stderr


def test_tests_and_hidden_files_are_no_workflows(shop: Any, folder: Path) -> None:
    bad = "raise RuntimeError('imported')\n"
    write(folder, workflows__orders=flow("order"), workflows__test_orders=bad, workflows__conftest=bad)
    write(folder, workflows__tests__test_more=bad, workflows___private=bad, workflows__build__lib__orders=bad)
    (folder / "workflows" / ".venv").mkdir()
    (folder / "workflows" / ".venv" / "bad.py").write_text(bad)
    (folder / "workflows" / "env").mkdir()
    (folder / "workflows" / "env" / "pyvenv.cfg").write_text("")
    (folder / "workflows" / "env" / "bad.py").write_text(bad)
    assert listed(shop) == [("order", "orders:order")]


def test_a_link_in_a_circle_ends(shop: Any, folder: Path) -> None:
    write(folder, workflows__orders=flow("order"))
    (folder / "workflows" / "again").symlink_to(folder / "workflows", target_is_directory=True)
    assert listed(shop) == [("order", "orders:order")]


def test_nothing_found_says_where_was_looked(shop: Any, folder: Path) -> None:
    result = shop("list")
    assert result.exit_code == 1
    assert f"No workflows found. Looked for workflows/ and workflows.py in {folder}." in result.output
    assert shop("list", "--json").exit_code == 1
    assert shop("list", "--json").stdout.strip() == "[]"
    for command in (("run", "x.duckdb"), ("start", "x.duckdb", "order"), ("replay-check", "x.duckdb")):
        result = shop(*command)
        assert result.exit_code == 2
        assert "there are no workflows here" in result.stderr
        assert f"looked for workflows/ and workflows.py in {folder}" in result.stderr
        assert not (folder / "x.duckdb").exists()


def test_what_fails_is_told_with_its_place_and_the_others_are_listed(shop: Any, folder: Path) -> None:
    write(
        folder,
        workflows__orders=flow("order"),
        workflows__broken="x = 1\ndef broken(:\n",
        workflows__late="import nowhere_at_all\n",
        workflows__forbidden="import os\n" + flow("forbidden").replace("return input", "return os.environ['X']"),
    )
    result = shop("list")
    assert result.exit_code == 2
    assert "order" in result.stdout
    for said in ("broken.py:2", "'workflows/broken.py' fails to import: SyntaxError", "late.py:1", "forbidden.py:6:12"):
        assert said in result.stderr, result.stderr
    result = shop("run", "x.duckdb")  # nothing runs on half of the workflows
    assert result.exit_code == 2
    assert "also" in result.stderr
    assert not (folder / "x.duckdb").exists()


@pytest.mark.parametrize(
    ("file", "command"),
    [
        ("workflows", "python -c 'import workflows'"),
        ("workflows__late", "cd workflows && python -c 'import late'"),
        ("workflows__billing__late", "cd workflows && python -c 'import billing.late'"),
    ],
)
def test_the_import_that_is_to_work_first_fails_alike_in_a_shell(
    shop: Any, folder: Path, file: str, command: str
) -> None:
    write(folder, **{file: "import nowhere_at_all\n"})
    assert f"fix       make `{command}` work first" in shop("list").stderr
    in_shell = subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True)
    assert "No module named 'nowhere_at_all'" in in_shell.stderr


def test_a_declaration_that_is_refused_is_told_with_its_place(shop: Any, folder: Path) -> None:
    write(
        folder,
        workflows__cron="from perdure.strict import Schedule\nDAILY = Schedule('0 25 * * *')\n",
        workflows__event="from perdure.strict import Event\n\nPAID = Event('')\n",
        workflows__orders="from cron import DAILY\n" + flow("order"),  # tells nothing that cron.py has not told
    )
    result = shop("list")
    assert result.exit_code == 2
    assert f"where     {folder}/workflows/cron.py:2\n" in result.stderr
    assert f"where     {folder}/workflows/event.py:3\n" in result.stderr
    assert result.stderr.count("its hour is '25'") == 1
    assert f"({folder}/workflows/event.py:3)" in shop("run", "x.duckdb").stderr


def test_two_of_one_id_and_version_are_told_with_both_places(shop: Any, folder: Path) -> None:
    write(folder, workflows__a=flow("order"), workflows__b="\n" + flow("order"), workflows__c=flow("order", "2"))
    result = shop("list")
    assert result.exit_code == 2
    assert "two workflows are 'order' version '1'" in result.stderr
    assert f"{folder}/workflows/a.py:3 and {folder}/workflows/b.py:4" in result.stderr
    assert result.stdout.count("order ") == 2  # versions 1 and 2


@pytest.mark.parametrize(("name", "other"), [("json", "the standard library's json"), ("pydantic", "pydantic")])
def test_a_file_does_not_take_the_name_of_what_is_installed(shop: Any, folder: Path, name: str, other: str) -> None:
    module = sys.modules[name]
    write(folder, **{f"workflows__{name}": flow("order")})
    result = shop("list")
    assert result.exit_code == 2
    assert f"would be the module '{name}', and there is another one" in result.stderr
    assert other in result.stderr
    assert sys.modules[name] is module
    (folder / "workflows" / "__init__.py").write_text("")
    assert listed(shop) == [("order", f"workflows.{name}:order")]


def test_every_command_finds_workflows_by_itself(shop: Any, folder: Path) -> None:
    write(folder, workflows=flow("order"))
    assert shop.ok("start", shop.ledger, "order", "--input", '"o1"', "--run-id", "r1") == "Run r1 is queued.\n"
    assert shop.json("run", shop.ledger, "--until-idle")["counts"] == {"completed": 1}
    assert "1" in shop.ok("replay-check", shop.ledger)
    shop.ok("upgrade", shop.ledger)
    assert '"o2"' in shop.ok("start", shop.ledger, "order", "--input", '"o2"', "--wait")
