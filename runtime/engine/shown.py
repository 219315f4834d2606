"""Where a body's `print` and `ctx.log` lines go, once they are known to be new."""

from __future__ import annotations

import logging
import sys

from perdure.core.facts import Output, RunFacts


def show(facts: RunFacts, output: Output) -> None:
    """Print the line, or hand it to the logger `perdure.run.<workflow>` with `run_id`, `text` and `fields`."""
    if output.level == 0:
        sys.stdout.write(output.text)
        sys.stdout.flush()
        return
    logger = logging.getLogger(f"perdure.run.{facts.workflow}")
    extra = {
        "run_id": facts.run_id, "workflow_id": facts.workflow, "attempt": facts.attempt, "text": output.text,
        "fields": output.fields,
    }  # fmt: skip
    shown = output.text
    if output.fields:
        shown += " " + " ".join(f"{name}={value!r}" for name, value in output.fields.items())
    logger.log(output.level, "%s", shown, extra=extra)
