"""Perdure in FastAPI: the runtime opens and closes with the application's lifespan.

Run it: uvicorn fastapi_service:app
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from orders import Order, fulfill_order

from perdure import Runtime, UnknownRun


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with Runtime(os.environ.get("LEDGER", "orders.duckdb"), workflows=[fulfill_order], drain="20s") as runtime:
        app.state.runtime = runtime
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/orders", status_code=202)
async def take_order(order: Order, request: Request) -> dict[str, str]:
    run = await request.app.state.runtime.start(fulfill_order, order)  # the same order is the same run
    return {"run_id": run.run_id}


@app.get("/orders/{run_id}")
async def show_order(run_id: str, request: Request) -> dict[str, Any]:
    run = request.app.state.runtime.handle(run_id)
    try:
        status = await run.status()
    except UnknownRun as unknown:
        raise HTTPException(404, unknown.message) from None
    return {"status": status, "result": await run.result() if status == "completed" else None}
