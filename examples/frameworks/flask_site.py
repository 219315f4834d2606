"""Perdure in Flask: one runtime for the process, whose methods block. They may be called from any request's thread.

Run it: flask --app flask_site run
"""

from __future__ import annotations

import atexit
import os
from typing import Any

from flask import Flask, request
from orders import fulfill_order

from perdure import InvalidInput, Runtime, UnknownRun


def create_app(ledger: str | None = None) -> Flask:
    app = Flask(__name__)
    opened = Runtime(ledger or os.environ.get("LEDGER", "orders.duckdb"), workflows=[fulfill_order])
    runtime = opened.__enter__()
    app.extensions["perdure"] = runtime
    atexit.register(runtime.close)  # steps at work finish when the server stops

    @app.post("/orders")
    def take_order() -> tuple[dict[str, Any], int]:
        try:
            run = runtime.start(fulfill_order, request.get_json())
        except InvalidInput as invalid:
            return {"error": invalid.message}, 422
        return {"run_id": run.run_id}, 202

    @app.get("/orders/<run_id>")
    def show_order(run_id: str) -> tuple[dict[str, Any], int]:
        run = runtime.handle(run_id)
        try:
            status = run.status()
        except UnknownRun as unknown:
            return {"error": unknown.message}, 404
        return {"status": status, "result": run.result() if status == "completed" else None}, 200

    return app
