"""The options of a workflow that a run needs in its course, as plain data in its first entry.

Only what differs from the defaults is written down. Knows options. Must not know runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import timedelta
from typing import Any, Final

from perdure.declare.options import RetryPolicy, WorkflowOptions
from perdure.durations import duration_us

#: What is decided when a run is started is left out, and the input's validation with it.
_PLAIN: Final = ("timeout_us", "max_entries", "max_ops")
_DURATIONS: Final = ("base_delay", "max_delay")
_DEFAULTS: Final = WorkflowOptions()


def record_options(options: WorkflowOptions) -> dict[str, Any]:
    """Write down what differs from the defaults; empty when nothing does. Durations are whole microseconds."""
    facts: dict[str, Any] = {
        name: getattr(options, name) for name in _PLAIN if getattr(options, name) != getattr(_DEFAULTS, name)
    }
    if options.policy != _DEFAULTS.policy:
        given, usual = _policy_facts(options.policy), _policy_facts(_DEFAULTS.policy)
        facts["retries"] = {name: value for name, value in given.items() if value != usual[name]}
    return facts


def recorded_options(facts: Mapping[str, Any]) -> WorkflowOptions:
    """Read them back."""
    policy = dict(facts.get("retries", {"max_attempts": _DEFAULTS.policy.max_attempts}))
    for name in _DURATIONS:
        if name in policy:
            policy[name] = timedelta(microseconds=policy[name])
    plain = {name: facts[name] for name in _PLAIN if name in facts}
    return WorkflowOptions(policy=RetryPolicy(**policy), **plain)


def _policy_facts(policy: RetryPolicy) -> dict[str, Any]:
    facts = {field.name: getattr(policy, field.name) for field in fields(policy)}
    return {name: duration_us(value) if name in _DURATIONS else value for name, value in facts.items()}
