"""Perdure inside of what applications are made with: each example runs as it would in its framework."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pages import ROOT

FRAMEWORKS = ROOT / "examples/frameworks"
ORDER = {"order_id": "o1", "cents": 4200}
RESULT = {"receipt": "charge-o1-4200", "parcel": "parcel-o1"}


@pytest.fixture(autouse=True)
def example_modules(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Let examples import each other and be imported afresh, with a ledger of their own."""
    before = dict(sys.modules)
    sys.modules.pop("orders", None)  # other tests have modules of that name
    monkeypatch.syspath_prepend(str(FRAMEWORKS))
    monkeypatch.setenv("LEDGER", str(tmp_path / "orders.duckdb"))
    monkeypatch.chdir(tmp_path)
    yield
    for name in [name for name in sys.modules if name not in before and name in MADE]:
        del sys.modules[name]
    if "orders" in before:
        sys.modules["orders"] = before["orders"]
    else:
        sys.modules.pop("orders", None)


MADE = {"orders", "fastapi_service", "flask_site", "script"}


def process(*command: str, cwd: Path | None = None) -> str:
    """Run what a reader would type; give what it printed."""
    environment = {**os.environ, "PYTHONPATH": str(FRAMEWORKS), "PYTHONWARNINGS": "error"}
    done = subprocess.run(
        [sys.executable, *command], cwd=cwd, env=environment, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


def completed(ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Ask, as a page does, until a run has ended."""
    end = time.monotonic() + 30
    while (answer := ask())["status"] != "completed":
        assert time.monotonic() < end, answer
        time.sleep(0.01)
    return answer


def test_fastapi_opens_and_closes_the_runtime_with_its_lifespan() -> None:
    from fastapi.testclient import TestClient
    from fastapi_service import app

    with TestClient(app) as client:
        first = client.post("/orders", json=ORDER)
        assert first.status_code == 202
        run_id = first.json()["run_id"]
        assert client.post("/orders", json=ORDER).json() == {"run_id": run_id}
        assert client.post("/orders", json={"order_id": "o1"}).status_code == 422
        assert client.get("/orders/nowhere").status_code == 404
        assert completed(lambda: client.get(f"/orders/{run_id}").json())["result"] == RESULT
        runtime = app.state.runtime
    assert not runtime.is_open
    with TestClient(app) as client:  # the next process
        assert client.get(f"/orders/{run_id}").json() == {"status": "completed", "result": RESULT}


def test_flask_calls_the_runtime_from_its_requests() -> None:
    import atexit

    from flask_site import create_app

    app = create_app()
    runtime = app.extensions["perdure"]
    client = app.test_client()
    try:
        first = client.post("/orders", json=ORDER)
        assert first.status_code == 202
        run_id = first.get_json()["run_id"]
        assert client.post("/orders", json={"order_id": "o1"}).status_code == 422
        assert client.get("/orders/nowhere").status_code == 404
        assert completed(lambda: client.get(f"/orders/{run_id}").get_json())["result"] == RESULT
    finally:
        atexit.unregister(runtime.close)
        runtime.close()


def test_a_runtime_closes_when_the_interpreter_ends(tmp_path: Path) -> None:
    script = "from flask_site import create_app\nclient = create_app().test_client()\n"
    script += f"print(client.post('/orders', json={ORDER}).status_code)"
    assert process("-c", script) == "202\n"
    assert not (tmp_path / "orders.duckdb.wal").exists()
    assert process("-c", script) == "202\n"  # the ledger was given back


def test_django_s_management_command_fulfils_orders_once(tmp_path: Path) -> None:
    site = FRAMEWORKS / "django_site"
    said = process(str(site / "manage.py"), "fulfill", "o1", "o2", "--cents", "4200", cwd=tmp_path)
    assert said.split() == ["parcel-o1", "parcel-o2"]
    again = """
import os, sys
sys.path.insert(0, sys.argv[1])
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
import django
from django.core.management import CommandError, call_command
django.setup()
call_command("fulfill", "o1")
try:
    call_command("fulfill")
except CommandError as error:
    print("refused", "order_ids" in str(error))
"""
    assert process("-c", again, str(site), cwd=tmp_path).split("\n") == ["parcel-o1", "refused True", ""]
    from perdure.storage.duckdb_ledger import DuckDBLedger

    ledger = DuckDBLedger(tmp_path / "orders.duckdb", read_only=True)
    try:
        assert ledger.sql("SELECT count(*) FROM steps WHERE name = 'charge'").rows == ((2,),)
    finally:
        ledger.close()


def test_a_script_goes_on_where_it_was(tmp_path: Path) -> None:
    for _ in range(2):
        assert process(str(FRAMEWORKS / "script.py"), "o1", "o2", cwd=tmp_path).split() == ["parcel-o1", "parcel-o2"]


def test_a_notebook_runs_a_workflow_that_its_cells_define(tmp_path: Path) -> None:
    from nbclient import NotebookClient
    from nbformat import read

    notebook = read(FRAMEWORKS / "notebook.ipynb", as_version=4)
    client = NotebookClient(notebook, timeout=60, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    shown = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert all(output.output_type == "execute_result" for output in shown), shown
    results = [output.data["text/plain"] for output in shown]
    assert results[-2] == "{'Oslo': 0.4, 'Rome': 0.4, 'Ulaanbaatar': 1.1}"
    assert "('measure#3', 1.1)" in results[-1]


def test_a_test_suite_has_a_fixture_of_its_own_and_the_plugin_s(tmp_path: Path) -> None:
    said = process("-m", "pytest", "-q", "-p", "no:cacheprovider", str(FRAMEWORKS / "test_orders.py"), cwd=tmp_path)
    assert "..." in said


def test_the_how_to_shows_each_example_as_it_is() -> None:
    page = (ROOT / "docs/howto.md").read_text(encoding="utf-8")
    shown = [*FRAMEWORKS.glob("*.py"), FRAMEWORKS / "django_site/shop/management/commands/fulfill.py"]
    for file in shown:
        assert file.read_text(encoding="utf-8").strip() in page, f"{file.name} is shown otherwise"
