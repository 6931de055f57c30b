"""A client of the REST API, synchronous and asynchronous, typed.

Requests are values, made by the functions of `gregale.client.api`; a client carries them out:

    from gregale.client import Client, api

    with Client("http://127.0.0.1:8989/v2") as gregale:
        started = gregale(api.start("hello", {"names": ["Ann"]}))
        ended = gregale.wait(started.id)

`AsyncClient` does the same with `await`. What goes wrong is an `ApiError` or a `ConnectionLost`.
"""

from gregale.client import api
from gregale.client.errors import ApiError, ClientError, ConnectionLost
from gregale.client.http import AsyncClient, Client
from gregale.client.records import (
    Action,
    ActionExecution,
    CronTrigger,
    Environment,
    EventTrigger,
    Execution,
    Happening,
    Member,
    Notification,
    Task,
    Workbook,
    Workflow,
)
from gregale.client.request import Request

__all__ = [
    "Action",
    "ActionExecution",
    "ApiError",
    "AsyncClient",
    "Client",
    "ClientError",
    "ConnectionLost",
    "CronTrigger",
    "Environment",
    "EventTrigger",
    "Execution",
    "Happening",
    "Member",
    "Notification",
    "Request",
    "Task",
    "Workbook",
    "Workflow",
    "api",
]
