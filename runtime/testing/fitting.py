"""Inputs and results that fit a workflow's and its steps' annotations, as strategies.

Knows definitions. Must not know how values of a type are made (`annotations.py`) or what they are used for.
"""

from __future__ import annotations

import inspect
from typing import Any

from hypothesis import strategies as st
from pydantic import PydanticUserError

from perdure.declare.registry import Definition
from perdure.errors import DefinitionError, PerdureError
from perdure.testing.annotations import fitting_values
from perdure.testing.experiment import need_workflow
from perdure.testing.fakes import result_annotation


def inputs_of(workflow: Definition) -> st.SearchStrategy[Any]:
    """Draw inputs of a workflow from its annotation; None when the body takes none.

    Raises:
        DefinitionError: the input is not annotated, or nothing can be drawn from the annotation.
    """
    need_workflow(workflow)
    if not workflow.takes:
        return st.none()
    annotation = workflow.input_annotation
    if annotation is None:
        raise DefinitionError(
            f"nothing says which inputs workflow {workflow.id!r} takes.",
            where=workflow.site,
            fix="annotate the body's first parameter, or give check_determinism(…, inputs=strategy)",
        )
    return _drawn(annotation, f"the input of workflow {workflow.id!r}", workflow.site, "inputs=strategy")


def results_of(step: Any, name: str = "") -> st.SearchStrategy[Any]:
    """Draw results of a step from its return annotation.

    Args:
        step: the step, or any function. name: what the body calls it, for the error.

    Raises:
        DefinitionError: it has no return annotation, or nothing can be drawn from it.
    """
    function = getattr(step, "function", step)
    name = name or str(getattr(step, "name", None) or getattr(function, "__name__", repr(function)))
    annotation = result_annotation(function)
    code = getattr(function, "__code__", None)
    where = f"{code.co_filename}:{code.co_firstlineno}" if code is not None else ""
    fix = f"steps={{{name!r}: strategy}}"
    if annotation is inspect.Parameter.empty:
        raise DefinitionError(
            f"nothing says what step {name!r} gives.",
            where=where,
            fix=f"annotate what it returns, or give {fix}: a strategy, a value, or a function that plays it",
        )
    return _drawn(annotation, f"the result of step {name!r}", where, fix)


def _drawn(annotation: Any, what: str, where: str, fix: str) -> st.SearchStrategy[Any]:
    try:
        strategy = fitting_values(annotation)
        strategy.validate()
    except PerdureError:
        raise
    # Hypothesis' own are among them; a model that must hold itself, and so is endless, recurses.
    except (PydanticUserError, TypeError, ValueError, NameError, RecursionError) as error:
        raise DefinitionError(
            f"nothing can be drawn for {what}, annotated as {annotation!r}.",
            where=where,
            why=str(error).splitlines()[0] if str(error) else type(error).__name__,
            fix=f"give {fix}",
        ) from error
    return strategy
