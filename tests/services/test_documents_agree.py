"""Cells of a ledger (in memory, in a file) and a PostgreSQL keep the same documents: one state machine drives all."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import document_oracle as oracle
import postgres_server
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from perdure import DuplicateDocument, MemoryLedger, Runtime
from perdure.errors import PerdureError
from perdure.services.database import BlockingDatabase, UpdateResult
from perdure.services.updates import read_update

ids = st.sampled_from(["a", "b", "c", "d", "é", "z" * 40])
wanted = st.one_of(
    ids.map(lambda key: {"_id": key}),
    st.lists(ids, max_size=3).map(lambda keys: {"_id": {"$in": keys}}),
    ids.map(lambda key: {"_id": {"$gt": key}}),
    oracle.filters,
)
updates = st.one_of(
    st.tuples(st.sampled_from("abc"), oracle.values).map(lambda pair: {"$set": {pair[0]: pair[1]}}),
    st.sampled_from("abc").map(lambda name: {"$inc": {name: 1}}),
    st.sampled_from("abc").map(lambda name: {"$unset": {name: ""}}),
    st.tuples(st.sampled_from("abc"), oracle.scalars).map(lambda pair: {"$setOnInsert": {pair[0]: pair[1]}}),
)


class Model:
    """A collection as a dictionary."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, Any]] = {}

    def found(self, filter: dict[str, Any]) -> list[dict[str, Any]]:
        return [self.kept[key] for key in sorted(self.kept) if oracle.matches(self.kept[key], filter)]

    def insert_one(self, document: dict[str, Any]) -> str:
        if document["_id"] in self.kept:
            raise DuplicateDocument("taken")
        self.kept[document["_id"]] = copy.deepcopy(document)
        return document["_id"]

    def insert_many(self, documents: list[dict[str, Any]]) -> list[str]:
        before = copy.deepcopy(self.kept)
        try:
            return [self.insert_one(each) for each in documents]
        except DuplicateDocument:
            self.kept = before
            raise

    def update_one(self, filter: dict[str, Any], update: dict[str, Any], *, upsert: bool = False) -> UpdateResult:
        found = self.found(filter)[:1]
        if found:
            return self._update(found, update)._replace(id=found[0]["_id"])
        if not upsert:
            return UpdateResult(0, 0)
        document = {"_id": filter["_id"]}
        read_update(update).apply(document, inserts=True)
        return UpdateResult(0, 0, self.insert_one(document), True)

    def update_many(self, filter: dict[str, Any], update: dict[str, Any]) -> UpdateResult:
        return self._update(self.found(filter), update)

    def _update(self, found: list[dict[str, Any]], update: dict[str, Any]) -> UpdateResult:
        changed = copy.deepcopy(found)
        for document in changed:
            read_update(update).apply(document)
        self.kept.update({document["_id"]: document for document in changed})
        return UpdateResult(len(found), sum(repr(one) != repr(two) for one, two in zip(found, changed, strict=True)))

    def replace_one(self, filter: dict[str, Any], document: dict[str, Any], *, upsert: bool = False) -> UpdateResult:
        found = self.found(filter)[:1]
        if not found:
            if not upsert:
                return UpdateResult(0, 0)
            return UpdateResult(0, 0, self.insert_one({"_id": filter["_id"], **document}), True)
        new = {"_id": found[0]["_id"], **document}
        self.kept[new["_id"]] = new
        return UpdateResult(1, int(repr(new) != repr(found[0])), new["_id"])

    def delete_one(self, filter: dict[str, Any]) -> bool:
        return self._delete(self.found(filter)[:1]) == 1

    def delete_many(self, filter: dict[str, Any]) -> int:
        return self._delete(self.found(filter))

    def _delete(self, found: list[dict[str, Any]]) -> int:
        for document in found:
            del self.kept[document["_id"]]
        return len(found)


class Collections(RuleBasedStateMachine):
    """Everything is asked of the model and of each back end, and they must agree."""

    databases: dict[str, BlockingDatabase]
    numbers = itertools.count()

    @initialize()
    def begin(self) -> None:
        self.name = f"c{next(self.numbers)}"
        self.model = Model()

    def same(self, ask: Callable[[Any], Any]) -> None:
        answers = {"model": _answer(ask, self.model)}
        for name, database in self.databases.items():
            answers[name] = _answer(ask, database[self.name])
        assert len(set(answers.values())) == 1, answers

    @rule(key=ids, document=oracle.documents)
    def insert(self, key: str, document: dict[str, Any]) -> None:
        self.same(lambda orders: orders.insert_one({"_id": key, **document}))

    @rule(documents=st.lists(st.tuples(ids, oracle.documents), max_size=3))
    def insert_many(self, documents: list[tuple[str, dict[str, Any]]]) -> None:
        self.same(lambda orders: orders.insert_many([{"_id": key, **each} for key, each in documents]))

    @rule(filter=wanted, update=updates)
    def update_one(self, filter: dict[str, Any], update: dict[str, Any]) -> None:
        self.same(lambda orders: orders.update_one(filter, update))

    @rule(key=ids, update=updates)
    def upsert(self, key: str, update: dict[str, Any]) -> None:
        self.same(lambda orders: orders.update_one({"_id": key}, update, upsert=True))

    @rule(filter=wanted, update=updates)
    def update_many(self, filter: dict[str, Any], update: dict[str, Any]) -> None:
        self.same(lambda orders: orders.update_many(filter, update))

    @rule(key=ids, document=oracle.documents, upsert=st.booleans())
    def replace(self, key: str, document: dict[str, Any], upsert: bool) -> None:
        self.same(lambda orders: orders.replace_one({"_id": key}, document, upsert=upsert))

    @rule(filter=wanted)
    def delete_one(self, filter: dict[str, Any]) -> None:
        self.same(lambda orders: orders.delete_one(filter))

    @rule(filter=wanted)
    def delete_many(self, filter: dict[str, Any]) -> None:
        self.same(lambda orders: orders.delete_many(filter))

    @rule(filter=wanted, limit=st.none() | st.integers(0, 3), skip=st.integers(0, 2))
    def find(self, filter: dict[str, Any], limit: int | None, skip: int) -> None:
        stop = None if limit is None else skip + limit
        expected = repr(self.model.found(filter)[skip:stop])
        for name, database in self.databases.items():
            assert repr(database[self.name].find(filter, limit=limit, skip=skip)) == expected, name
            assert database[self.name].count(filter) == len(self.model.found(filter)), name

    @rule(after=ids)
    def find_after(self, after: str) -> None:
        expected = [key for key in sorted(self.model.kept) if key > after]
        for name, database in self.databases.items():
            assert [each["_id"] for each in database[self.name].find(after=after)] == expected, name

    @invariant()
    def everything_is_as_in_the_model(self) -> None:
        expected = repr([self.model.kept[key] for key in sorted(self.model.kept)])
        for name, database in self.databases.items():
            assert repr(database[self.name].find()) == expected, name
            assert (self.name in database.collections()) == bool(self.model.kept), name


def _answer(ask: Callable[[Any], Any], collection: Any) -> str:
    try:
        return repr(ask(collection))
    except PerdureError as error:
        return type(error).__name__


@pytest.fixture
def databases(tmp_path: Path) -> Iterator[dict[str, BlockingDatabase]]:
    with ExitStack() as stack:
        found = {
            "memory": stack.enter_context(Runtime(MemoryLedger())).database,
            "file": stack.enter_context(Runtime(tmp_path / "ledger.duckdb")).database,
        }
        if postgres_server.missing() is None:
            from perdure.services.postgres import PostgresDatabase

            server = stack.enter_context(postgres_server.running())
            services = {"database": PostgresDatabase(server.url)}
            found["PostgreSQL"] = stack.enter_context(Runtime(MemoryLedger(), services=services)).database
        yield found


def test_every_back_end_gives_the_same_answers(databases: dict[str, BlockingDatabase]) -> None:
    Collections.databases = databases
    run_state_machine_as_test(
        Collections,
        settings=settings(
            max_examples=15, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def test_values_of_every_kind_come_back_as_they_were(databases: dict[str, BlockingDatabase]) -> None:
    from value_samples import SAMPLES

    for name, database in databases.items():
        database["values"].insert_many([{"_id": f"{index}", "v": each} for index, each in enumerate(SAMPLES)])
        found = [database["values"].find_one({"_id": f"{index}"}) for index in range(len(SAMPLES))]
        assert [repr(each["v"]) for each in found if each] == [repr(each) for each in SAMPLES], name
