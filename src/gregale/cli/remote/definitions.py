"""`gregale workflow|workbook|action|env`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gregale.cli.load import map_file, pairs
from gregale.cli.remote.connect import fail, group, remote
from gregale.cli.remote.output import Output
from gregale.client import Client, api

workflow = group("Workflows of a server.")
workbook = group("Workbooks of a server.")
action = group("Actions of a server.")
env = group("Environments of a server: named variables for executions.")

File = Annotated[Path, typer.Argument(help="A YAML document.")]
Name = Annotated[str, typer.Argument(help="A name or an id.")]
Names = Annotated[list[str], typer.Argument(help="Names or ids.")]
Namespace = Annotated[str, typer.Option("--namespace", "-n", help="The namespace.")]
Public = Annotated[bool, typer.Option("--public", help="Let every project use it.")]
Filters = Annotated[
    list[str] | None,
    typer.Option(
        "--filter",
        "-f",
        help="attribute=value, or attribute=op:value with eq, neq, gt, gte, lt, lte, in, nin, has. Repeatable.",
    ),
]
Limit = Annotated[int, typer.Option("--limit", "-l", min=1, help="At most so many.")]
Variables = Annotated[list[str] | None, typer.Option("--var", "-v", help="key=value; the value is YAML. Repeatable.")]
VariablesFile = Annotated[Path | None, typer.Option("--file", help="A YAML or JSON map.")]

_COLUMNS = ("id", "name", "namespace", "input", "tags", "scope", "created_at")


def filters(given: list[str] | None) -> dict[str, str]:
    """Exits with 2 for what is no filter."""
    result = {}
    for one in given or []:
        name, separator, value = one.partition("=")
        if not separator:
            raise fail(f"--filter '{one}' is not of the form attribute=value")
        result[name] = value
    return result


def text_of(path: Path) -> str:
    """Exits with 2 for a file that cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise fail(f"{path}: {e}") from None


def _scope(public: bool) -> str:
    return "public" if public else "private"


@remote(workflow, "list")
def list_workflows(client: Client, out: Output, filter: Filters = None, limit: Limit = 100) -> None:  # noqa: A002
    """List workflows.

    Example: gregale workflow list --filter name=has:deploy
    """
    out.many(client(api.workflows(**filters(filter), limit=limit)), _COLUMNS)


@remote(workflow, "get")
def get_workflow(client: Client, out: Output, name: Name, namespace: Namespace = "") -> None:
    """Show one workflow."""
    out.one(client(api.workflow(name, namespace)))


@remote(workflow, "definition")
def workflow_definition(client: Client, out: Output, name: Name, namespace: Namespace = "") -> None:
    """Print the YAML of a workflow."""
    out.text(client(api.workflow(name, namespace)).definition)


@remote(workflow, "create")
def create_workflows(
    client: Client, out: Output, file: File, namespace: Namespace = "", public: Public = False
) -> None:
    """Create the workflows of a document.

    Example: gregale workflow create deploy.yaml
    """
    out.many(client(api.create_workflows(text_of(file), namespace, _scope(public))), _COLUMNS)


@remote(workflow, "update")
def update_workflows(
    client: Client, out: Output, file: File, namespace: Namespace = "", public: Public = False
) -> None:
    """Replace workflows by those of a document. Without --public they become private."""
    out.many(client(api.update_workflows(text_of(file), namespace, _scope(public))), _COLUMNS)


@remote(workflow, "delete")
def delete_workflows(client: Client, out: Output, names: Names, namespace: Namespace = "") -> None:
    """Delete workflows. What runs goes on."""
    for name in names:
        client(api.delete_workflow(name, namespace))
        out.done(f"deleted workflow {name}")


@remote(workflow, "share")
def share_workflow(
    client: Client,
    out: Output,
    workflow_id: Name,
    project_id: Annotated[str, typer.Argument(help="The other project.")],
) -> None:
    """Offer a private workflow to another project."""
    out.one(client(api.share_workflow(workflow_id, project_id)))


@remote(workflow, "accept")
def accept_workflow(
    client: Client,
    out: Output,
    workflow_id: Name,
    project_id: Annotated[str, typer.Argument(help="One's own project.")],
) -> None:
    """Accept a workflow that another project offers."""
    out.one(client(api.answer_share(workflow_id, project_id, "accepted")))


@remote(workflow, "members")
def workflow_members(client: Client, out: Output, workflow_id: Name) -> None:
    """List the projects that a workflow is shared with."""
    out.many(client(api.members(workflow_id)), ("member_id", "status", "created_at"))


@remote(workbook, "list")
def list_workbooks(client: Client, out: Output, filter: Filters = None, limit: Limit = 100) -> None:  # noqa: A002
    """List workbooks."""
    out.many(
        client(api.workbooks(**filters(filter), limit=limit)),
        ("id", "name", "namespace", "tags", "scope", "created_at"),
    )


@remote(workbook, "get")
def get_workbook(client: Client, out: Output, name: Name, namespace: Namespace = "") -> None:
    """Show one workbook."""
    out.one(client(api.workbook(name, namespace)))


@remote(workbook, "create")
def create_workbook(client: Client, out: Output, file: File, namespace: Namespace = "", public: Public = False) -> None:
    """Create a workbook with its workflows and actions."""
    out.many(
        [client(api.create_workbook(text_of(file), namespace, _scope(public)))], ("id", "name", "namespace", "scope")
    )


@remote(workbook, "update")
def update_workbook(client: Client, out: Output, file: File, namespace: Namespace = "", public: Public = False) -> None:
    """Replace a workbook with its workflows and actions."""
    out.many(
        [client(api.update_workbook(text_of(file), namespace, _scope(public)))], ("id", "name", "namespace", "scope")
    )


@remote(workbook, "delete")
def delete_workbooks(client: Client, out: Output, names: Names, namespace: Namespace = "") -> None:
    """Delete workbooks; their workflows and actions stay."""
    for name in names:
        client(api.delete_workbook(name, namespace))
        out.done(f"deleted workbook {name}")


@remote(action, "list")
def list_actions(client: Client, out: Output, filter: Filters = None, limit: Limit = 1000) -> None:  # noqa: A002
    """List actions: those of the server, ad-hoc ones and dynamic ones."""
    out.many(client(api.actions(**filters(filter), limit=limit)), ("name", "is_system", "input", "description"))


@remote(action, "get")
def get_action(client: Client, out: Output, name: Name, namespace: Namespace = "") -> None:
    """Show one action."""
    out.one(client(api.action(name, namespace)))


@remote(action, "create")
def create_actions(client: Client, out: Output, file: File, namespace: Namespace = "", public: Public = False) -> None:
    """Create the ad-hoc actions of a document."""
    out.many(client(api.create_actions(text_of(file), namespace, _scope(public))), ("id", "name", "input", "scope"))


@remote(action, "update")
def update_actions(client: Client, out: Output, file: File, namespace: Namespace = "", public: Public = False) -> None:
    """Replace ad-hoc actions by those of a document."""
    out.many(client(api.update_actions(text_of(file), namespace, _scope(public))), ("id", "name", "input", "scope"))


@remote(action, "delete")
def delete_actions(client: Client, out: Output, names: Names, namespace: Namespace = "") -> None:
    """Delete ad-hoc actions."""
    for name in names:
        client(api.delete_action(name, namespace))
        out.done(f"deleted action {name}")


@remote(action, "run")
def run_action(
    client: Client,
    out: Output,
    name: Name,
    given: Annotated[
        list[str] | None, typer.Option("--input", "-i", help="key=value; the value is YAML. Repeatable.")
    ] = None,
    target: Annotated[str | None, typer.Option(help="Run it on the executor of this name.")] = None,
    namespace: Namespace = "",
) -> None:
    """Run an action on its own and print its result.

    Example: gregale action run std.http -i url=https://example.org
    """
    found = client(api.run_action(name, pairs(given or [], "--input"), bool(target), target, namespace))
    out.value(found.output.get("result") if found.id is None else {"id": found.id, "state": found.state})
    if found.state == "ERROR":
        raise typer.Exit(1)


@remote(env, "list")
def list_environments(client: Client, out: Output, filter: Filters = None, limit: Limit = 100) -> None:  # noqa: A002
    """List environments."""
    out.many(client(api.environments(**filters(filter), limit=limit)), ("name", "description", "scope", "created_at"))


@remote(env, "get")
def get_environment(client: Client, out: Output, name: Name) -> None:
    """Show one environment."""
    out.one(client(api.environment(name)))


@remote(env, "create")
def create_environment(
    client: Client,
    out: Output,
    name: Name,
    var: Variables = None,
    file: VariablesFile = None,
    description: Annotated[str | None, typer.Option(help="What it is for.")] = None,
) -> None:
    """Create an environment.

    Example: gregale env create staging -v host=web1 -v 'ports=[80, 443]'
    """
    variables = {**(map_file(file) if file else {}), **pairs(var or [], "--var")}
    out.one(client(api.create_environment(name, variables, description)))


@remote(env, "update")
def update_environment(
    client: Client, out: Output, name: Name, var: Variables = None, file: VariablesFile = None
) -> None:
    """Replace the variables of an environment."""
    variables = {**(map_file(file) if file else {}), **pairs(var or [], "--var")}
    out.one(client(api.update_environment(name, variables)))


@remote(env, "delete")
def delete_environments(client: Client, out: Output, names: Names) -> None:
    """Delete environments. What runs keeps the values it started with."""
    for name in names:
        client(api.delete_environment(name))
        out.done(f"deleted environment {name}")
