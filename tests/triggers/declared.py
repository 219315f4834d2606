"""Workflows and functions with triggers, at the top of a module as an application has them."""

from __future__ import annotations

from pydantic import BaseModel

from perdure.strict import (
    DbChange,
    Event,
    KvChange,
    ReceivedEvent,
    Schedule,
    ScheduledInput,
    on_db_change,
    on_event,
    on_kv_change,
    workflow,
)


class User(BaseModel):
    id: str
    age: int = 0


@on_event("user.registered", retries=0)
async def greet(user: User) -> str:
    """Greet."""
    return f"hello {user.id}, {user.age}"


@on_event("user.registered", resource="eu")
def note(user: dict, event: ReceivedEvent) -> list:
    return [user["id"], event.type, event.resource, event.namespace, event.id]


@on_kv_change(namespace="stock", key_pattern="inv:*", op="put")
def restock(change: KvChange) -> list:
    return [change.namespace, change.key, change.op, change.value, change.previous]


@on_db_change(collection="orders", op="insert", id="take-order")
async def ordered(change: DbChange) -> list:
    return [change.id, change.document]


@workflow(id="nightly", trigger=Schedule("0 3 * * *", "Europe/Berlin", name="night"))
async def nightly(input: ScheduledInput) -> str:
    return f"{input['schedule']} {input['scheduled_at'].isoformat()}"


@workflow(id="ping", trigger=[Schedule("* * * * *"), Event("ping"), Event("ping", resource="eu")])
async def ping() -> str:
    return "pong"


@workflow(id="welcome", trigger=Event("user.registered"))
async def welcome(input: User) -> str:
    return input.id
