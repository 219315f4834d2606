"""`restrict`: what a body reaches, when it is judged, and what it sees in place of the module's names."""

# ruff: noqa: C416  # the comprehensions show the order of iteration

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import itertools
import sys
import textwrap
import warnings

import pytest

from perdure.errors import DefinitionError, DeterminismWarning, PolicyViolation, SandboxViolation
from perdure.sandbox import discard, dump_sources, fuel, load_sources, restrict, restrict_pinned, unwrap

_numbers = itertools.count()


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Import a text as a module of its own. `restricts(fn)` in it stands for the decorator."""
    made = []

    def make(source, name=None, strict=True):
        name = name or f"author_{next(_numbers)}"
        path = tmp_path / f"{name}.py"
        path.write_text(textwrap.dedent(source))
        spec = importlib.util.spec_from_file_location(name, path)
        created = importlib.util.module_from_spec(spec)
        created.workflow = lambda function: restrict(function, strict=strict)
        created.step = Step
        sys.modules[name] = created
        made.append(name)
        spec.loader.exec_module(created)
        return created

    monkeypatch.syspath_prepend(str(tmp_path))
    yield make
    for name in made:
        sys.modules.pop(name, None)


class Step:
    """A decorated step, as far as the sandbox knows: opaque."""

    __perdure_opaque__ = True

    def __init__(self, function):
        self.function = function

    def __call__(self, *arguments):
        return self.function(*arguments)


class Steps:
    """What a body gets as `step`: it calls what it is given, as a performer would."""

    __perdure_opaque__ = True

    def __init__(self):
        self.captured = []

    async def run(self, name, function, *arguments, on_error=None):
        opened = unwrap(function)
        self.captured.append(dict(opened.captured))
        try:
            result = opened.function(*arguments)
        except ValueError as error:
            if on_error is None:
                raise
            return unwrap(on_error).function(error)
        return await result if inspect.isawaitable(result) else result

    async def map(self, name, function, items):
        return [unwrap(function).function(item) for item in items]


def run(restricted, *arguments):
    fuel.refill(1_000_000)
    try:
        return asyncio.run(restricted.function(*arguments))
    finally:
        fuel.release()


# ── what is judged, and when ─────────────────────────────────────────────────────────────────────


def test_strict_import_tells_findings_of_all_bodies_and_helpers_of_the_file_at_once(module):
    with pytest.raises(PolicyViolation) as caught:
        module(
            """
            import time
            def helper():
                return open("x")

            @workflow
            async def first(input, step):
                helper()
                return later()

            def later():
                return time.sleep(1)

            @workflow
            async def second(input, step):
                return eval("1")
            """
        )
    assert [finding.line for finding in caught.value.findings] == [4, 12, 16]
    assert caught.value.findings[0].via == ("first", "helper")


def test_function_that_is_only_handed_to_a_step_is_not_checked(module):
    author = module(
        """
        import os
        @workflow
        async def body(input, step):
            return await step.run("pid", read, "x") == await step.run("again", lambda: os.getpid())
        def read(x):
            return os.getpid()
        """
    )
    assert run(author.body, None, Steps()) is True


def test_function_that_is_called_and_handed_over_is_checked(module):
    with pytest.raises(PolicyViolation) as caught:
        module(
            """
            @workflow
            async def body(input, step):
                read()
                return await step.run("read", read)
            def read():
                return open("x").read()
            """
        )
    assert [finding.line for finding in caught.value.findings] == [7]


def test_decorated_step_is_held_as_it_is(module):
    author = module(
        """
        import os
        @step
        def pid(offset): return os.getpid() * 0 + offset
        @workflow
        async def body(input, step): return pid(4)
        """
    )
    assert run(author.body, None, Steps()) == 4


def test_mutable_global_is_an_error_in_strict_mode(module):
    source = """
        PRICES = {"a": 1}
        @workflow
        async def body(input, step): return PRICES["a"]
        """
    with pytest.raises(PolicyViolation) as caught:
        module(source)
    assert caught.value.findings[0].rule == "mutable-global"
    assert caught.value.findings[0].line == 4


@pytest.mark.parametrize("default", ["[]", "{}", "dict()", "[x for x in ()]"])
def test_mutable_default_of_a_helper_is_a_mutable_global(module, default):
    with pytest.raises(PolicyViolation) as caught:
        module(
            f"""
            def remember(value, *, seen={default}):
                return len(seen)
            @workflow
            async def body(input, step): return remember(input)
            """
        )
    (finding,) = caught.value.findings
    assert (finding.rule, finding.line) == ("mutable-global", 2)


def test_name_that_a_function_rebinds_is_a_mutable_global(module):
    with pytest.raises(PolicyViolation) as caught:
        module(
            """
            rate = 3
            def change():
                global rate
                rate = 4
            @workflow
            async def body(input, step): return rate
            """
        )
    assert caught.value.findings[0].rule == "mutable-global"


def test_lenient_mode_warns_of_suspicions_at_the_authors_line(module):
    source = """
        PRICES = {"a": 1}
        @workflow
        async def body(input, step): return PRICES["a"]
        """
    with pytest.warns(DeterminismWarning, match="PRICES") as caught:
        author = module(source, strict=False)
    assert caught[0].filename == author.__file__
    assert caught[0].lineno == 4
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run(author.body, None, Steps()) == 1  # told once


def test_lenient_mode_still_refuses_escapes(module):
    with pytest.raises(PolicyViolation):
        module("@workflow\nasync def body(input, step): return input.__dict__", strict=False)


def test_value_that_only_exists_later_is_judged_when_linked(module):
    author = module(
        """
        def make(): return []
        @workflow
        async def body(input, step): return CACHE
        CACHE = make()
        """
    )
    with pytest.raises(PolicyViolation, match="CACHE"):
        author.body.link()


def test_unvouched_library_is_refused_until_somebody_vouches(module):
    source = """
        import sortedcontainers
        @workflow
        async def body(input, step): return list(sortedcontainers.SortedList([3, 1]))
        """
    from perdure.sandbox import libraries

    with pytest.raises(PolicyViolation) as caught:
        module(source)
    assert caught.value.findings[0].rule == "unvouched"
    libraries.allow("sortedcontainers")
    try:
        assert run(module(source).body, None, Steps()) == [1, 3]
    finally:
        libraries.disallow("sortedcontainers")


def test_function_without_source_is_a_definition_error():
    namespace = {}
    exec("async def body(input, step): pass", namespace)
    with pytest.raises(DefinitionError, match="no source"):
        restrict(namespace["body"], strict=True)


def test_special_method_of_a_class_must_not_read_the_clock(module):
    with pytest.raises(PolicyViolation) as caught:
        module(
            """
            import time
            class Order:
                def __init__(self): self.at = time.time()
            @workflow
            async def body(input, step): return Order().at
            """
        )
    assert caught.value.findings[0].rule == "native-call"


def test_method_that_the_body_never_names_is_not_checked(module):
    author = module(
        """
        class Order:
            def save(self): open("x")
            def total(self): return 3
        @workflow
        async def body(input, step): return Order().total()
        """
    )
    assert run(author.body, None, Steps()) == 3


def test_method_that_the_body_names_is_checked(module):
    with pytest.raises(PolicyViolation) as caught:
        module(
            """
            class Order:
                def save(self): open("x")
            @workflow
            async def body(input, step): return Order().save()
            """
        )
    assert caught.value.findings[0].line == 3


# ── what a body sees ─────────────────────────────────────────────────────────────────────────────


def test_methods_and_properties_of_the_authors_classes_run_restricted(module):
    author = module(
        """
        from dataclasses import dataclass
        from functools import cached_property
        from pydantic import BaseModel
        from perdure.sandbox.values import is_restricted

        class Line(BaseModel):
            price: int
            def total(self): return [x for x in {3, 1, 2}], self.price
            @property
            def doubled(self): return [x for x in {30, 10, 20}]
            @classmethod
            def make(cls): return [x for x in {5, 4}]
            @staticmethod
            def pure(): return [x for x in {9, 8}]

        @dataclass
        class Cart:
            lines: list[Line]
            _level: int = 0
            @cached_property
            def order(self): return [x for x in {7, 6}]
            @property
            def level(self): return self._level
            @level.setter
            def level(self, value): self._level = [x for x in {value, 1}]

        @workflow
        async def body(input, step):
            line = Line(price=2)
            cart = Cart([line])
            cart.level = 2
            total = line.total
            return line.total(), line.doubled, Line.make(), line.pure(), cart.order, cart.level, total()
        """
    )
    total = ([3, 1, 2], 2)
    assert run(author.body, None, Steps()) == (total, [30, 10, 20], [5, 4], [9, 8], [7, 6], [2, 1], total)


def test_classes_keep_their_identity(module):
    author = module(
        """
        class Declined(Exception): pass
        class Point:
            def __init__(self, x): self.x = x
        def fail(): raise Declined("no")
        @workflow
        async def body(input, step):
            try:
                await step.run("fail", fail)
            except Declined as error:
                return error, Point(1)
        """
    )
    error, point = run(author.body, None, Steps())
    assert type(error) is author.Declined
    assert type(point) is author.Point


def test_helper_of_another_module_of_the_author_is_compiled_too(module):
    module("def order(): return [x for x in {3, 1, 2}]\nRATE = 2\n", name="author_helpers")
    author = module(
        """
        import author_helpers
        from author_helpers import order as imported
        @workflow
        async def body(input, step):
            from author_helpers import order as inside
            return author_helpers.order(), imported(), inside(), author_helpers.RATE
        """
    )
    assert run(author.body, None, Steps()) == ([3, 1, 2], [3, 1, 2], [3, 1, 2], 2)


def test_recursive_and_mutually_recursive_helpers_work(module):
    author = module(
        """
        def even(n): return n == 0 or odd(n - 1)
        def odd(n): return n != 0 and even(n - 1)
        def depth(tree): return 1 + max([depth(each) for each in tree], default=0)
        @workflow
        async def body(input, step): return even(10), depth([[[]], []])
        """
    )
    assert run(author.body, None, Steps()) == (True, 3)


def test_wrapped_helpers_run_restricted_inside_their_wrappers(module):
    author = module(
        """
        import functools, contextlib
        def loud(function):
            @functools.wraps(function)
            def wrapper(*args): return ["loud", *function(*args)]
            return wrapper
        @loud
        def order(): return [x for x in {3, 1, 2}]
        @contextlib.contextmanager
        def managed():
            yield [x for x in {30, 10, 20}]
        @functools.lru_cache
        def cached(): return [x for x in {5, 4}]
        TABLE = (order, cached)
        PARTIAL = functools.partial(sorted, key=lambda x: -x)
        @workflow
        async def body(input, step):
            with managed() as found:
                return order(), found, cached(), TABLE[0](), PARTIAL([1, 2])
        """
    )
    loud = ["loud", 3, 1, 2]
    assert run(author.body, None, Steps()) == (loud, [30, 10, 20], [5, 4], loud, [2, 1])


def test_body_of_a_test_function_sees_the_variables_around_it():
    limit = 3

    def helper(n):
        return [x for x in {n, limit, 1}]

    async def body(input, step):
        return helper(5), limit

    assert run(restrict(body, strict=True), None, Steps()) == ([5, 3, 1], 3)


def test_step_lambda_may_use_what_the_body_may_not():
    calls = []

    async def body(input, step):
        return await step.run("append", lambda: calls.append(1))

    run(restrict(body, strict=True), None, Steps())
    assert calls == [1]


def test_monkeypatched_name_is_seen_by_the_next_link(module, monkeypatch):
    author = module(
        """
        def rate(): return 1
        def charge(): return "real"
        @workflow
        async def body(input, step): return rate(), await step.run("charge", charge)
        """
    )
    assert run(author.body, None, Steps()) == (1, "real")
    monkeypatch.setattr(author, "charge", lambda: "fake")
    monkeypatch.setattr(author, "rate", lambda: 2)
    assert run(author.body, None, Steps()) == (2, "fake")


def test_attributes_of_shared_classes_and_modules_cannot_be_changed(module):
    author = module(
        """
        class Order: pass
        @workflow
        async def body(input, step):
            Order.discount = 1
        """
    )
    with pytest.raises(SandboxViolation, match="discount"):
        run(author.body, None, Steps())


def test_body_that_is_dropped_from_memory_runs_none_of_its_clean_up():
    seen = []

    class Wait:
        __perdure_opaque__ = True

        def __await__(self):
            yield

        def note(self, what):
            seen.append(what)

    async def body(input, step):
        try:
            try:
                await step
            except BaseException:
                step.note("except")
                raise
        finally:
            step.note("finally")

    coroutine = restrict(body, strict=True).function(None, Wait())
    coroutine.send(None)
    discard(coroutine)
    assert seen == []
    closed = restrict(body, strict=True).function(None, Wait())
    closed.send(None)
    closed.close()
    assert seen == ["except", "finally"]


def test_class_called_like_one_of_ours_gets_no_privileges():
    async def body(input, step):
        from enum import Enum

        class UserModule(Enum):
            A = 1

        return UserModule._member_map_

    with pytest.raises(SandboxViolation, match="_member_map_"):
        run(restrict(body, strict=True), None, Steps())


def test_what_ends_the_body_passes_every_handler():
    async def body(input, step):
        try:
            getattr(input, "__globals__")  # noqa: B009
        except Exception:  # noqa: BLE001  # what is tested
            return "swallowed"

    with pytest.raises(SandboxViolation):
        run(restrict(body, strict=True), None, Steps())


# ── steps ────────────────────────────────────────────────────────────────────────────────────────


def test_step_closure_runs_with_real_names_over_the_bodys_variables(module):
    author = module(
        """
        import time
        from functools import partial
        def add(a, b): return a + b
        @workflow
        async def body(input, step):
            total = 1
            items = [1, 2]
            def local(n):
                import os
                return os.getpid() * 0 + n + total
            first = await step.run("a", lambda: (time.time() > 1e9, total))
            total = 5
            second = await step.run("b", lambda extra, more=items: extra + total + len(more), 10)
            third = await step.run("c", local, 1)
            fourth = await step.run("d", partial(local, 2))
            fifth = await step.map("e", lambda item: item * total, items)
            sixth = await step.run("f", partial(add, 1), 2)
            return first, second, third, fourth, fifth, sixth
        """
    )
    assert run(author.body, None, Steps()) == ((True, 1), 17, 6, 7, [5, 10], 3)


def test_captured_names_the_variables_of_a_closure():
    async def body(input, step):
        amount = 3
        return await step.run("a", lambda: amount)

    steps = Steps()
    assert run(restrict(body, strict=True), None, steps) == 3
    assert steps.captured == [{"amount": 3}]


def test_body_cannot_call_what_it_hands_to_a_step():
    async def body(input, step):
        class Fake:
            def run(self, name, function):
                return function()

        step = Fake()
        return step.run("escape", lambda: __import__("os"))

    with pytest.raises(TypeError, match="not callable"):
        run(restrict(body, strict=True), None, Steps())


def test_local_function_used_both_ways_is_restricted_in_the_body_and_real_in_the_step():
    async def body(input, step):
        def order():
            return [x for x in {30, 10, 20}]

        return order(), await step.run("order", order)

    inside, outside = run(restrict(body, strict=True), None, Steps())
    assert inside == [30, 10, 20]
    assert sorted(outside) == [10, 20, 30]
    assert outside == list({30, 10, 20})


def test_local_function_used_both_ways_is_checked():
    async def body(input, step):
        def read():
            return open("x")

        read()
        return await step.run("read", read)

    with pytest.raises(PolicyViolation):
        restrict(body, strict=True)


def test_on_error_of_a_step_is_real_code():
    async def body(input, step):
        def fail():
            raise ValueError("v")

        return await step.run("a", fail, on_error=lambda error: __import__("os").sep and str(error))

    assert run(restrict(body, strict=True), None, Steps()) == "v"


def test_step_that_assigns_to_the_bodys_variable_is_refused():
    async def body(input, step):
        total = 0

        def add():
            nonlocal total
            total += 1

        await step.run("add", add)
        return total

    with pytest.raises(PolicyViolation) as caught:
        restrict(body, strict=True)
    assert caught.value.findings[0].rule == "step-assigns"


def test_second_parameter_counts_as_step_whatever_its_name():
    async def body(input, durable):
        return await durable.run("sep", lambda: __import__("os").sep)

    assert run(restrict(body, strict=True), None, Steps())


def test_unwrap_gives_the_original_of_a_twin_and_leaves_others_alone():
    async def body(input, step):
        return 1

    restricted = restrict(body, strict=True)
    assert unwrap(restricted.function).function is body
    assert unwrap(len).function is len
    decorated = Step(len)
    assert unwrap(decorated).function is decorated


def test_two_lambdas_of_one_line_are_told_apart():
    async def body(input, step):
        return [await step.run("a", lambda: ("a", len(str(input)))), await step.run("b", lambda: ("b", 2))]

    assert run(restrict(body, strict=True), 7, Steps()) == [("a", 1), ("b", 2)]


# ── the source closure ───────────────────────────────────────────────────────────────────────────

_CLOSURE = """
    RATE = 3
    class Order:
        def total(self): return helper(2)
    def helper(x): return x * RATE
    def charge(x): return ("today", x)
    @workflow
    async def body(input, step):
        return Order().total(), await step.run("charge", charge, 1)
    """


def test_source_closure_has_the_body_first_and_all_that_it_reaches(module):
    author = module(_CLOSURE)
    assert [(source.qualname, source.line) for source in author.body.sources] == [
        ("body", 7), ("Order.total", 4), ("helper", 5), ("RATE", 2),
    ]  # fmt: skip
    assert author.body.sources[0].source.startswith("@workflow\nasync def body")
    assert load_sources(dump_sources(author.body.sources)) == author.body.sources


def test_digest_does_not_know_place_comments_layout_or_options(module):
    first = module(_CLOSURE).body.digest
    moved = textwrap.dedent(_CLOSURE).replace("RATE = 3", "# a comment\n\n\nRATE = 3")
    moved = moved.replace("x * RATE", "(x *  RATE)")
    assert module(moved).body.digest == first


@pytest.mark.parametrize(
    ("old", "new"), [("x * RATE", "x + RATE"), ("RATE = 3", "RATE = 4"), ('"charge", charge, 1', '"charge", charge, 2')]
)
def test_digest_changes_with_the_body_its_helpers_and_constants(module, old, new):
    assert module(_CLOSURE).body.digest != module(_CLOSURE.replace(old, new)).body.digest


def test_digest_does_not_change_with_the_steps(module):
    assert module(_CLOSURE).body.digest == module(_CLOSURE.replace("today", "tomorrow")).body.digest


def test_pinned_closure_runs_old_code_with_todays_steps(module):
    old = module(_CLOSURE, name="author_shop")
    recorded = load_sources(dump_sources(old.body.sources))
    digest = old.body.digest
    assert run(old.body, None, Steps()) == (6, ("today", 1))
    changed = _CLOSURE.replace("x * RATE", "-1").replace("RATE = 3", "RATE = 9").replace("today", "tomorrow")
    new = module(changed.replace("charge, 1", "charge, 2"), name="author_shop")
    pinned = restrict_pinned(recorded)
    assert run(new.body, None, Steps()) == (-1, ("tomorrow", 2))
    assert run(pinned, None, Steps()) == (6, ("tomorrow", 1))
    assert pinned.digest == digest
