"""One request, as handlers see it: who asks, what was given, and what there is to answer with."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Concatenate, ParamSpec, TypeVar

import msgspec
from starlette.requests import Request

from gregale.api.admission import Admission
from gregale.api.auth import Identity
from gregale.api.auth.policy import Policy
from gregale.api.problems import Forbidden, InMaintenance, TooLarge
from gregale.api.settings import ApiSettings
from gregale.core import InvalidInput
from gregale.engine import Engine
from gregale.store import Database
from gregale.store.ownership import Owner, Viewer

T = TypeVar("T")
P = ParamSpec("P")
S = TypeVar("S", bound=msgspec.Struct)

TRUE = frozenset(("true", "1", "yes", "on", "t", "y"))


class Trusts:
    """Letting triggers act for their owners later on. Without Keystone there is nothing to do."""

    async def create(self, who: Identity) -> dict[str, Any] | None:
        """What to keep with a trigger."""
        del who
        return None

    async def delete(self, kept: dict[str, Any] | None) -> None:
        del kept


class Services(msgspec.Struct, frozen=True):
    """What the API stands on. `system_actions`: those of this server as the API shows them. `run_inline`: runs an action in place
    (language spec 7.3). `not_ready`: why this process should get no requests. `cut_off`:
    for how many seconds it has not reached its database."""

    engine: Engine
    settings: ApiSettings
    policy: Policy
    system_actions: Callable[[], list[dict[str, Any]]]
    run_inline: Callable[..., Awaitable[Any]]
    trusts: Trusts
    admission: Admission
    not_ready: Callable[[], Awaitable[str | None]]
    cut_off: Callable[[], float]


class Call:
    """`who` asks with `query`, the last of repeated parameters."""

    def __init__(self, request: Request, services: Services, who: Identity):
        self.request = request
        self.services = services
        self.who = who
        self.query: Mapping[str, str] = request.query_params

    @property
    def engine(self) -> Engine:
        return self.services.engine

    @property
    def database(self) -> Database:
        return self.services.engine.database

    @property
    def viewer(self) -> Viewer:
        return Viewer(self.who.project_id, self.who.admin)

    def path(self, name: str) -> str:
        return str(self.request.path_params[name])

    async def read(self, run: Callable[Concatenate[Any, P], T], *given: P.args, **named: P.kwargs) -> T:
        """Raises Unavailable."""
        return await self.database.reading(run, *given, **named)

    async def glance(self, run: Callable[Concatenate[Any, P], T], *given: P.args, **named: P.kwargs) -> T:
        """What one statement reads. Raises Unavailable."""
        return await self.database.glancing(run, *given, **named)

    async def write(self, run: Callable[Concatenate[Any, P], T], *given: P.args, **named: P.kwargs) -> T:
        """A change that is made once. Raises Unavailable; OutcomeUnknown when it may have been made."""
        return await self.database.writing_once(run, *given, **named)

    def flag(self, name: str) -> bool:
        return self.query.get(name, "").lower() in TRUE

    @property
    def namespace(self) -> str:
        return self.query.get("namespace") or ""

    def require(self, rule: str) -> None:
        """Raises Forbidden."""
        if not self.services.policy.allows(rule, self.who):
            raise Forbidden(f"Policy doesn't allow {rule} to be performed by this caller")

    async def require_unlocked(self, *also: str) -> None:
        """Raises InMaintenance unless the cluster takes changes, or its status is one of `also`."""
        status = await self.engine.maintenance.recent()
        if status != "RUNNING" and status not in also:
            raise InMaintenance(
                f"The maintenance status of the cluster is {status}: changes are refused until it is RUNNING"
            )

    def scope(self, resource: str, given: str | None = None) -> str:
        """The scope asked for, which only some may make public. Raises InvalidInput, Forbidden."""
        scope = given or "private"
        if scope not in ("private", "public"):
            raise InvalidInput(f"Invalid scope: '{scope}'; possible are private and public")
        if scope == "public":
            self.require(f"{resource}:publicize")
        return scope

    def owner(self, resource: str, scope: str | None = None) -> Owner:
        """Whose a definition will be. `scope` and namespace are those of the query where they are not given."""
        wanted = self.scope(resource, scope if scope is not None else self.query.get("scope"))
        engine = self.engine
        return Owner(self.who.project_id, engine.clock(), engine.new_id, self.namespace, wanted, self.who.admin)

    # Bodies ----------------------------------------------------------------------------------------------------------

    async def body(self) -> bytes:
        """Raises TooLarge, also for a body that does not say how long it is."""
        limit = self.services.settings.max_body
        parts = []
        size = 0
        async for part in self.request.stream():
            size += len(part)
            if size > limit:
                raise TooLarge(f"The body is larger than the {limit} bytes that are accepted")
            parts.append(part)
        return b"".join(parts)

    async def text(self) -> str:
        """Raw text whatever the content type says. Raises InvalidInput."""
        raw = await self.body()
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as e:
            raise InvalidInput(f"The body is not UTF-8 text: byte {e.start} cannot be decoded") from None

    async def json(self, kind: type[S]) -> S:
        """One JSON object with known attributes. Raises InvalidInput."""
        raw = await self.body()
        try:
            _bounded(raw, self.services.settings.max_depth)
            return msgspec.json.decode(raw, type=kind)
        except msgspec.ValidationError as e:
            raise InvalidInput(_rephrased(str(e), kind)) from None
        except (msgspec.DecodeError, UnicodeError, RecursionError) as e:
            raise InvalidInput(f"The body is not JSON: {e}") from None

    def obj(self, value: Any, name: str) -> dict[str, Any]:
        """An attribute that is an object, or a string that holds one; anything falsy is empty. Raises InvalidInput."""
        if isinstance(value, str) and value:
            try:
                _bounded(value.encode(), self.services.settings.max_depth)
                value = msgspec.json.decode(value)
            except (msgspec.DecodeError, UnicodeError, RecursionError) as e:
                raise InvalidInput(f"'{name}' is not JSON: {e}") from None
        if not value:
            return {}
        if not isinstance(value, dict):
            raise InvalidInput(f"'{name}' must be a JSON object, not {type(value).__name__}")
        return value

    # What actions may present ------------------------------------------------------------------------------------------

    def credentials(self) -> dict[str, Any] | None:
        """Those of the caller, with the other cloud that X-Target headers name. Raises InvalidInput."""
        headers = self.request.headers
        target = {
            name: value for name, header in _TARGET.items() if (value := headers.get(f"x-target-{header}")) is not None
        }
        if "auth_uri" in target and "auth_token" not in target:
            raise InvalidInput("X-Target-Auth-Uri needs X-Target-Auth-Token beside it")
        insecure = target.pop("insecure", None)
        if insecure not in (None, "True", "False"):
            raise InvalidInput(f"X-Target-Insecure must be True or False, not '{insecure}'")
        catalog = target.pop("service_catalog", None)
        given: dict[str, Any] = {**(self.who.credentials or {}), **target}
        if insecure is not None:
            given["insecure"] = insecure == "True"
        if catalog is not None:
            try:
                given["service_catalog"] = msgspec.json.decode(base64.b64decode(catalog, validate=True))
            except (binascii.Error, ValueError, msgspec.DecodeError):
                raise InvalidInput("X-Target-Service-Catalog must be JSON in base64") from None
        region = headers.get("x-region-name")
        if given and region and "region_name" not in given:
            given["region_name"] = region
        return given or None


_TARGET = {
    "auth_uri": "auth-uri",
    "auth_token": "auth-token",
    "project_id": "project-id",
    "user_id": "user-id",
    "user_name": "user-name",
    "region_name": "region-name",
    "user_domain_name": "user-domain-name",
    "project_domain_name": "project-domain-name",
    "insecure": "insecure",
    "service_catalog": "service-catalog",
}
_TEXTS = re.compile(rb'"(?:[^"\\]|\\.)*"?', re.DOTALL)


def _bounded(raw: bytes, most: int) -> None:
    """Raises InvalidInput for JSON nested too deeply, without building any of it."""
    if raw.count(b"[") + raw.count(b"{") <= most:
        return
    depth = 0
    for byte in _TEXTS.sub(b"", raw):
        if byte in b"[{":
            depth += 1
            if depth > most:
                raise InvalidInput(f"The JSON is nested more than {most} levels deep")
        elif byte in b"]}":
            depth -= 1


def _rephrased(text: str, kind: type[msgspec.Struct]) -> str:
    unknown = re.match(r"Object contains unknown field `(.*?)`", text)
    if unknown is None:
        return f"Invalid body: {text}"
    known = ", ".join(f.encode_name for f in msgspec.structs.fields(kind))
    return f'Unknown attribute for argument body: "{unknown.group(1)}"; known are {known}'


def known_only(query: Mapping[str, str], known: Iterable[str]) -> None:
    """Raises InvalidInput."""
    allowed = set(known)
    for name in query:
        if name and name not in allowed:
            raise InvalidInput(f'Unknown argument: "{name}"')
