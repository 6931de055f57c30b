"""The workflow language: YAML text in, checked and frozen specs out, every mistake named with its place.

`read_workflows`, `read_workbook` and `read_actions` give specs or raise `InvalidDocument`, which carries every
diagnostic of the text. `validate` gives the diagnostics alone, lint warnings included.
"""

from gregale.language.diagnostics import Diagnostic, InvalidDocument, Severity
from gregale.language.read import (
    Document,
    kind_of,
    read_actions,
    read_workbook,
    read_workflows,
    validate,
    workflow_from_body,
)
from gregale.language.spec import (
    ActionSpec,
    OnClause,
    Policies,
    Publish,
    RetrySpec,
    TaskSpec,
    Transition,
    WorkbookSpec,
    WorkflowSpec,
)

__all__ = [
    "ActionSpec",
    "Diagnostic",
    "Document",
    "InvalidDocument",
    "OnClause",
    "Policies",
    "Publish",
    "RetrySpec",
    "Severity",
    "TaskSpec",
    "Transition",
    "WorkbookSpec",
    "WorkflowSpec",
    "kind_of",
    "read_actions",
    "read_workbook",
    "read_workflows",
    "validate",
    "workflow_from_body",
]
