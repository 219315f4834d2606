"""`@seeds`: one test, many seeds; and the one command that runs a failing one again.

Knows test functions. Must not know what a seed decides.
"""

from __future__ import annotations

import functools
import inspect
import os
import shlex
import sys
from collections.abc import Callable
from typing import Any

from perdure.errors import DefinitionError


def chosen_seed() -> int | None:
    """The seed that the environment variable PERDURE_SEED asks for; `DefinitionError` when it is no number."""
    text = os.environ.get("PERDURE_SEED", "")
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        raise DefinitionError(
            f"the environment variable PERDURE_SEED is {text!r}.", fix="give a whole number, or unset it"
        ) from None


def again(seed: int) -> str:
    """The command that runs the present test again with this seed."""
    test = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]
    command = f"-m pytest '{test}'" if test else shlex.quote(sys.argv[0] or "…")
    return f"PERDURE_SEED={seed} python {command}"


def seeds(count: int, *, first: int = 0) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Call a test once for every seed, as its argument `seed`; the environment variable PERDURE_SEED picks one.

    ```python
    @seeds(200)
    def test_an_order_is_charged_once(seed):
        with Simulation(order, seed=seed, faults=random_faults(seed)) as simulation:
            simulation.start("order", 4200).result()
            assert len(simulation.effects("charge_card")) == 1
    ```

    Args:
        count: how many seeds. first: the first one.
    """

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(test)

        @functools.wraps(test)
        def run(*args: Any, **kwargs: Any) -> None:
            chosen = chosen_seed()
            for seed in range(first, first + count) if chosen is None else (chosen,):
                try:
                    test(*args, **kwargs, seed=seed)
                except Exception as error:
                    error.add_note(f"seed {seed}; again: {again(seed)}")
                    raise

        # pytest must not look for a fixture of that name.
        others = [each for name, each in signature.parameters.items() if name != "seed"]
        run.__signature__ = signature.replace(parameters=others)  # type: ignore[attr-defined]  # inspect looks for it
        del run.__wrapped__  # and would look through this
        return run

    return decorate
