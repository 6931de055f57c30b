"""Documents in: workflows, workbooks and ad-hoc actions (language spec 1)."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any, Literal, TypeVar

import msgspec
import yaml

from gregale import yamltext
from gregale.language import build, lint, shapes
from gregale.language.diagnostics import Diagnostic, InvalidDocument, Report, Severity
from gregale.language.spec import ActionSpec, WorkbookSpec, WorkflowSpec
from gregale.yamltext import Path

Kind = Literal["workbook", "workflows", "actions"]
T = TypeVar("T")


class Document(msgspec.Struct, frozen=True):
    """A document of one or several workflows or ad-hoc actions: specs in the order written, the text of each as stored."""

    workflows: tuple[WorkflowSpec, ...] = ()
    actions: tuple[ActionSpec, ...] = ()
    workbook: WorkbookSpec | None = None
    texts: dict[str, str] = {}


def kind_of(data: Any) -> Kind:
    """What a parsed document is, by its keys."""
    if isinstance(data, dict):
        if "workflows" in data or "actions" in data or isinstance(data.get("name"), str):
            return "workbook"
        bodies = [b for k, b in data.items() if k != "version" and isinstance(b, dict)]
        if bodies and all("base" in b for b in bodies):
            return "actions"
    return "workflows"


def read_workflows(text: str | bytes, lenient: bool = False) -> Document:
    """Read a document of workflows. Raises InvalidDocument with everything that is wrong.

    `lenient`: take what could be built, without what is wrong in it (API spec 1.4, `skip_validation`); so below too.
    """
    return _read(text, "workflows", lenient)


def read_actions(text: str | bytes, lenient: bool = False) -> Document:
    """Read a document of ad-hoc actions. Raises InvalidDocument."""
    return _read(text, "actions", lenient)


def read_workbook(text: str | bytes) -> WorkbookSpec:
    """Read a workbook. Raises InvalidDocument."""
    workbook = _read(text, "workbook").workbook
    assert workbook is not None
    return workbook


def read_workbook_document(text: str | bytes, lenient: bool = False) -> Document:
    """A workbook with the text of each member. Raises InvalidDocument."""
    return _read(text, "workbook", lenient)


def workflow_from_body(name: str, body: dict[str, Any]) -> WorkflowSpec:
    """The spec of a workflow whose body was checked before (a stored one). Raises InvalidDocument if there can be none."""
    report = Report()
    spec = build.workflow(name, body, (name,), report)
    if spec is None:
        raise InvalidDocument(report.found)
    return spec


def validate(
    text: str | bytes, kind: Kind | None = None, known_actions: Collection[str] = ()
) -> tuple[Kind, list[Diagnostic]]:
    """Everything to say about a text: errors, and lint warnings where it is sound. Never raises for bad input.

    `known_actions`: names that exist; other action names are warned about, unless the collection is empty.
    """
    report = Report()
    try:
        parsed = yamltext.parse(text)
    except yamltext.YamlError as e:
        return kind or "workflows", [_unreadable(e)]
    kind = kind or kind_of(parsed.data)
    document = _BUILD[kind](parsed.data, text, report)
    if document is not None:
        lint.document(parsed.data, document, known_actions, report)
    return kind, _placed(report, parsed)


def _read(text: str | bytes, kind: Kind, lenient: bool = False) -> Document:
    report = Report(lenient)
    try:
        parsed = yamltext.parse(text)
    except yamltext.YamlError as e:
        raise InvalidDocument([_unreadable(e)]) from None
    document = _BUILD[kind](parsed.data, text, report)
    if report.failed or document is None:
        raise InvalidDocument(_placed(report, parsed))
    return document


def _unreadable(e: yamltext.YamlError) -> Diagnostic:
    return Diagnostic(e.code, Severity.ERROR, str(e), (), e.line, e.column)


def _placed(report: Report, parsed: yamltext.Source) -> list[Diagnostic]:
    def placed(found: Diagnostic) -> Diagnostic:
        line, column = parsed.place(found.path)
        return msgspec.structs.replace(found, line=line, column=column)

    result = [placed(d) for d in report.found]
    return sorted(result, key=lambda d: (d.severity is Severity.WARNING, d.line, d.column))


def _workflows(data: Any, text: str | bytes, report: Report) -> Document | None:
    specs = []
    for name, body in _members(data, "workflow", report):
        spec = build.workflow(name, body, (name,), report)
        if spec is not None:
            specs.append(spec)
    if report.failed or not specs:
        return None
    verbatim = text if isinstance(text, str) else text.decode()
    version = data.get("version", "2.0")
    texts = {s.name: verbatim if len(specs) == 1 else dumped({"version": version, s.name: data[s.name]}) for s in specs}
    return Document(workflows=tuple(specs), texts=texts)


def _actions(data: Any, text: str | bytes, report: Report) -> Document | None:
    specs = []
    for name, body in _members(data, "action", report):
        spec = build.action(name, body, (name,), report)
        if spec is not None:
            specs.append(spec)
    if report.failed or not specs:
        return None
    verbatim = text if isinstance(text, str) else text.decode()
    return Document(actions=tuple(specs), texts={s.name: verbatim for s in specs})


def _members(data: Any, what: str, report: Report) -> list[tuple[Any, Any]]:
    """The `name: body` entries of a document, after the checks of its top level."""
    if not isinstance(data, dict):
        report.error("type", f"The document must be a map of {what}s, not {type(data).__name__}", ())
        return []
    if "version" not in data:
        report.error("required", "'version' is a required property", (), "write version: '2.0' at the top")
    elif what == "workflow":
        shapes.VERSION.check(data["version"], ("version",), report)
    members = [(name, body) for name, body in data.items() if name != "version"]
    if not members:
        report.error("empty", f"At least one item must be in the list of {what}s", ())
    return members


def _workbook(data: Any, text: str | bytes, report: Report) -> Document | None:
    del text
    shapes.WORKBOOK.check(data, (), report)
    if not isinstance(data, dict) or report.errors:
        return None
    if "version" in data and str(data["version"]) not in ("2.0", "2"):
        report.error("workbook-version", f"Unsupported DSL version: {data['version']}", ("version",))
    workflows = _section(data, "workflows", build.workflow, report)
    actions = _section(data, "actions", build.action, report)
    if report.failed:
        return None
    workbook = WorkbookSpec(
        data["name"], data.get("description") or "", tuple(data.get("tags") or ()), workflows, actions
    )
    texts = {
        name: dumped({"version": "2.0", name: section[name]})
        for section in (data.get("workflows") or {}, data.get("actions") or {})
        for name in section
        if name != "version"
    }
    return Document(tuple(workflows.values()), tuple(actions.values()), workbook, texts)


def _section(
    data: dict[str, Any], key: str, read: Callable[[str, Any, Path, Report], T | None], report: Report
) -> dict[str, T]:
    result = {}
    section = data.get(key)
    for name, body in (section if isinstance(section, dict) else {}).items():
        if name == "version":
            continue
        if not isinstance(name, str) or not re.fullmatch(r"[\w-]+", name):
            report.error(
                "name", f"{name!r} is not a valid name in a workbook: letters, digits, _ and - only", (key, name)
            )
            continue
        spec = read(name, body, (key, name), report)
        if spec is not None:
            result[name] = spec
    return result


def dumped(value: dict[str, Any]) -> str:
    """YAML in the order given."""
    return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True, default_flow_style=False))


_BUILD: dict[Kind, Callable[[Any, str | bytes, Report], Document | None]] = {
    "workflows": _workflows,
    "actions": _actions,
    "workbook": _workbook,
}
