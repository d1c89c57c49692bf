"""The JSON schema of the job file, made from the tables that the loader reads with."""

from __future__ import annotations

import json
from typing import Any

from .loader import JOB

_DIALECT = "http://json-schema.org/draft-07/schema#"  # the one that editors know best


def schema() -> dict[str, Any]:
    """Give the schema of command and sweep jobs in all forms that are read."""
    return {
        "$schema": _DIALECT,
        "title": "Regiment job file",
        "description": "A command or sweep job, in the current form of Azure ML or one since 2021.",
        **JOB.schema,
    }


def schema_text() -> str:
    """Give the schema as it is published."""
    return json.dumps(schema(), indent=1) + "\n"
