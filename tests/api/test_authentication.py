"""Ways of telling who asks: static tokens, Keystone, JSON Web Tokens (API spec 3.1, 3.5)."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import jwt
import pytest
import uvicorn
from cryptography.hazmat.primitives.asymmetric import rsa
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gregale.actions.contract import Action, ActionContext, from_function
from gregale.api import ApiSettings
from gregale.api.auth import AuthSettings
from gregale.api.auth.settings import KeystoneSettings, OidcSettings, StaticToken
from gregale.service import Service, ServiceSettings
from gregale.store.schema import security
from tests.api.conftest import Api

WF = "version: '2.0'\nwf: {tasks: {t: {action: std.noop}}}\n"


class Website:
    """A small server of the outside world, in a thread of its own."""

    def __init__(self, routes: list[Route]):
        self.asked: list[str] = []
        app = Starlette(routes=routes)
        self._server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", lifespan="off"))
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{sock.getsockname()[1]}"
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [sock]}, daemon=True)
        self._thread.start()
        deadline = time.monotonic() + 10
        while not self._server.started:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


async def test_static_tokens(serve: Callable[[ServiceSettings], Any]) -> None:
    tokens = (
        StaticToken(digest("secret-1"), "web", "ann", ("member",)),
        StaticToken(digest("secret-2"), "ops", roles=("admin",)),
    )
    api: Api = await serve(ServiceSettings(api=ApiSettings(auth=AuthSettings(mode="tokens", tokens=tokens))))
    refused = await api.client.get("/v2/workflows")
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"] == "Bearer"
    assert refused.headers["server-error-message"] == refused.json()["faultstring"]
    await api("GET", "/v2/workflows", 401, headers={"X-Auth-Token": "wrong"})
    forged = {"X-Auth-Token": "secret-1", "X-Project-Id": "ops", "X-Roles": "admin", "X-Identity-Status": "Confirmed"}
    [made] = (await api("POST", "/v2/workflows", 201, content=WF, headers=forged))["workflows"]
    assert made["project_id"] == "web"
    await api("POST", "/v2/code_sources?name=x", 403, content="", headers=forged)
    await api("GET", "/v2/workflows/wf", 200, headers={"Authorization": "Bearer secret-2"})  # an admin sees it
    await api("PUT", "/maintenance", 403, json={"status": "PAUSED"}, headers=forged)
    for path in ("/", "/v2/"):
        await api("GET", path, 200)
    await api("GET", "/info", 400)
    await api("GET", "/maintenance", 401)


class Realm:
    """An OpenID provider with one signing key at a time."""

    def __init__(self) -> None:
        self.fetched = 0
        self.rotate("k1")
        self.site = Website(
            [
                Route("/realms/{realm}/.well-known/openid-configuration", self._discovery),
                Route("/realms/{realm}/keys", self._keys),
                Route("/realms/{realm}/userinfo", self._userinfo),
            ]
        )

    def rotate(self, kid: str) -> None:
        self.kid, self.key = kid, rsa.generate_private_key(public_exponent=65537, key_size=2048)

    async def _discovery(self, request: Request) -> Response:
        return JSONResponse({"jwks_uri": f"{self.site.url}/realms/{request.path_params['realm']}/keys"})

    async def _keys(self, request: Request) -> Response:
        self.fetched += 1
        public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
        return JSONResponse({"keys": [{**public, "kid": self.kid, "use": "sig", "alg": "RS256"}]})

    async def _userinfo(self, request: Request) -> Response:
        return Response(status_code=200 if "revoked" not in request.path_params["realm"] else 401)

    def token(self, realm: str = "blue", **claims: Any) -> str:
        body = {
            "iss": f"{self.site.url}/realms/{realm}",
            "exp": time.time() + 60,
            "aud": "gregale",
            "sub": "ann",
            "realm_access": {"roles": ["member"]},
            **claims,
        }
        return jwt.encode(body, self.key, "RS256", {"kid": self.kid})


@pytest.fixture
def realm() -> Iterator[Realm]:
    made = Realm()
    yield made
    made.site.stop()


async def test_json_web_tokens_are_checked_against_the_issuers_keys(
    realm: Realm, serve: Callable[[ServiceSettings], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gregale.api.auth.oidc._FETCH_AT_MOST_EVERY", 0.0)
    oidc = OidcSettings(issuer=f"{realm.site.url}/realms/*", audience="gregale")
    api: Api = await serve(ServiceSettings(api=ApiSettings(auth=AuthSettings(mode="oidc", oidc=oidc))))

    async def ask(token: str, status: int = 200) -> Any:
        return await api("GET", "/v2/workflows", status, headers={"X-Auth-Token": token})

    [made] = (
        await api("POST", "/v2/workflows", 201, content=WF, headers={"Authorization": f"Bearer {realm.token()}"})
    )["workflows"]
    assert made["project_id"] == "blue"  # the realm is the project
    assert [w["name"] for w in (await ask(realm.token("green")))["workflows"]] == ["std.create_instance"]
    await api("POST", "/v2/code_sources?name=s", 403, content="x = 1", headers={"X-Auth-Token": realm.token()})
    admin = realm.token(realm_access={"roles": ["admin"]})
    await api("POST", "/v2/code_sources?name=s", 201, content="x = 1", headers={"X-Auth-Token": admin})
    assert "expired" in (await ask(realm.token(exp=time.time() - 100), 401))["faultstring"]
    assert "udience" in (await ask(realm.token(aud="other"), 401))["faultstring"]
    assert "not trusted" in (await ask(realm.token(iss="http://evil/realms/blue"), 401))["faultstring"]
    await ask("not.a.token", 401)
    odd = await api.client.get(
        "/v2/workflows", headers={"X-Auth-Token": realm.token(iss="http://x\x00\x7fé\r\nX-Roles: admin")}
    )
    assert odd.headers["server-error-message"].endswith(
        "its issuer 'http://x???"
    )  # one line, and nothing that is no text
    head, _body, signature = realm.token().split(".")
    other = base64.urlsafe_b64encode(
        json.dumps({**jwt.decode(realm.token(), options={"verify_signature": False}), "sub": "eve"}).encode()
    )
    await ask(f"{head}.{other.decode().rstrip('=')}.{signature}", 401)
    none = jwt.encode(jwt.decode(realm.token(), options={"verify_signature": False}), None, "none", {"kid": "k1"})
    await ask(none, 401)
    fetched = realm.fetched
    await ask(realm.token())
    assert realm.fetched == fetched  # keys are kept
    realm.rotate("k2")
    await ask(realm.token())  # a key of a new name is looked for
    assert realm.fetched > fetched


async def test_the_provider_can_be_asked_about_each_token(
    realm: Realm, serve: Callable[[ServiceSettings], Any]
) -> None:
    oidc = OidcSettings(
        issuer=f"{realm.site.url}/realms/*",
        project_claim="tenant.id",
        userinfo_url=f"{realm.site.url}/realms/%s/userinfo",
    )
    api: Api = await serve(ServiceSettings(api=ApiSettings(auth=AuthSettings(mode="oidc", oidc=oidc))))
    good = realm.token(tenant={"id": "t1"})
    [made] = (await api("POST", "/v2/workflows", 201, content=WF, headers={"X-Auth-Token": good}))["workflows"]
    assert made["project_id"] == "t1"
    await api("GET", "/v2/workflows", 401, headers={"X-Auth-Token": realm.token("revoked", tenant={"id": "t1"})})
    assert (
        "no project" in (await api("GET", "/v2/workflows", 401, headers={"X-Auth-Token": realm.token()}))["faultstring"]
    )


class Cloud:
    """As much of Keystone's API v3 as validating tokens and keeping trusts takes."""

    def __init__(self) -> None:
        self.tokens: dict[str, dict[str, Any]] = {}
        self.trusts: dict[str, dict[str, Any]] = {}
        self.validated = 0
        self.away = False
        self.site = Website(
            [
                Route("/v3", self._version),
                Route("/v3/auth/tokens", self._issue, methods=["POST"]),
                Route("/v3/auth/tokens", self._validate, methods=["GET"]),
                Route("/v3/OS-TRUST/trusts", self._trust, methods=["POST"]),
                Route("/v3/OS-TRUST/trusts/{id}", self._untrust, methods=["DELETE"]),
            ]
        )

    @property
    def url(self) -> str:
        return f"{self.site.url}/v3"

    def token(self, name: str, project: str, *roles: str, seconds: float = 600) -> str:
        at = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime(time.time() + seconds))
        self.tokens[name] = {
            "user": {"id": f"{name}-id", "name": name},
            "project": {"id": project, "name": project},
            "roles": [{"id": r, "name": r} for r in roles],
            "expires_at": at,
            "catalog": [],
        }
        return name

    async def _version(self, request: Request) -> Response:
        return JSONResponse(
            {"version": {"id": "v3.14", "status": "stable", "links": [{"rel": "self", "href": self.url}]}}
        )

    async def _issue(self, request: Request) -> Response:
        body = (await request.json())["auth"]
        assert body["identity"]["password"]["user"]["password"] == "pw"
        trust = body.get("scope", {}).get("OS-TRUST:trust", {}).get("id")
        if trust is not None and trust not in self.trusts:
            return JSONResponse({}, 404)
        name = f"of-{trust}" if trust else "service"
        self.token(name, self.trusts[trust]["project_id"] if trust else "service", "service")
        return JSONResponse({"token": self.tokens[name]}, 201, {"X-Subject-Token": name})

    async def _validate(self, request: Request) -> Response:
        self.validated += 1
        if self.away:
            return JSONResponse({}, 503)
        if request.headers["x-auth-token"] not in self.tokens:
            return JSONResponse({}, 401)
        found = self.tokens.get(request.headers["x-subject-token"])
        return JSONResponse({"token": found}) if found else JSONResponse({}, 404)

    async def _trust(self, request: Request) -> Response:
        trust = (await request.json())["trust"]
        trust["id"] = f"trust{len(self.trusts)}"
        self.trusts[trust["id"]] = trust
        return JSONResponse({"trust": trust}, 201)

    async def _untrust(self, request: Request) -> Response:
        return Response(status_code=204 if self.trusts.pop(request.path_params["id"], None) else 404)


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    made = Cloud()
    yield made
    made.site.stop()


def keystone(cloud: Cloud, **more: Any) -> ApiSettings:
    settings = KeystoneSettings(auth_url=cloud.url, username="gregale", password="pw", **more)
    return ApiSettings(auth=AuthSettings(mode="keystone", keystone=settings))


async def test_keystone_says_who_asks(cloud: Cloud, serve: Callable[[ServiceSettings], Any]) -> None:
    api: Api = await serve(ServiceSettings(api=keystone(cloud)))
    ann = {"X-Auth-Token": cloud.token("ann", "p1", "member"), "X-Project-Id": "forged", "X-Roles": "admin"}
    root = {"X-Auth-Token": cloud.token("root", "adm", "admin")}
    [made] = (await api("POST", "/v2/workflows", 201, content=WF, headers=ann))["workflows"]
    assert made["project_id"] == "p1"
    await api("POST", "/v2/code_sources?name=s", 403, content="x = 1", headers=ann)
    await api("GET", "/v2/workflows/wf", 200, headers=root)
    asked = cloud.validated
    await api("GET", "/v2/workflows", 200, headers=ann)
    assert cloud.validated == asked  # believed for a while
    refused = await api("GET", "/v2/workflows", 401, headers={"X-Auth-Token": "unknown"})
    assert "Failed to validate access token" in refused["faultstring"]
    old = {"X-Auth-Token": cloud.token("old", "p1", "member", seconds=-5)}
    assert "expired" in (await api("GET", "/v2/workflows", 401, headers=old))["faultstring"]
    cloud.away = True
    away = await api("GET", "/v2/workflows", 503, headers={"X-Auth-Token": cloud.token("bob", "p2", "member")})
    assert "Keystone" in away["faultstring"]
    await api("GET", "/v2/workflows", 200, headers=ann)


class Memcached:
    """The two commands that caching tokens takes, as memcached answers them."""

    def __init__(self) -> None:
        self.kept: dict[bytes, bytes] = {}
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._speak, args=(connection,), daemon=True).start()

    def _speak(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rwb") as stream:
            while line := stream.readline():
                verb, key, *rest = line.split()
                if verb == b"get":
                    value = self.kept.get(key)
                    stream.write(b"" if value is None else b"VALUE %s 0 %d\r\n%s\r\n" % (key, len(value), value))
                    stream.write(b"END\r\n")
                elif verb == b"set":
                    self.kept[key] = stream.read(int(rest[2]) + 2)[:-2]
                    if b"noreply" not in rest:
                        stream.write(b"STORED\r\n")
                stream.flush()

    def stop(self) -> None:
        self._socket.close()


async def test_what_keystone_said_is_shared_through_memcached(
    cloud: Cloud, serve: Callable[[ServiceSettings], Any]
) -> None:
    shared = Memcached()
    first: Api = await serve(ServiceSettings(api=keystone(cloud, memcached=(shared.address,))))
    second: Api = await serve(ServiceSettings(api=keystone(cloud, memcached=(shared.address,))))
    ann = {"X-Auth-Token": cloud.token("ann", "p1", "member")}
    await first("GET", "/v2/workflows", 200, headers=ann)
    asked = cloud.validated
    await second("GET", "/v2/workflows", 200, headers=ann)
    assert cloud.validated == asked
    assert shared.kept
    assert not any(b"ann" in key for key in shared.kept)  # tokens are kept by their hashes
    shared.stop()
    bob = {"X-Auth-Token": cloud.token("bob", "p1", "member")}
    await second("GET", "/v2/workflows", 200, headers=bob)  # it is a cache: without it, all goes on


SEEN: list[Any] = []


def spy() -> Action:
    def look(context: ActionContext) -> str:
        SEEN.append(context.security)
        return "seen"

    import msgspec

    made: Action = msgspec.structs.replace(from_function(look, "spy"), credentials=True)
    return made


async def test_triggers_act_by_a_trust_that_goes_with_their_last_execution(cloud: Cloud) -> None:
    SEEN.clear()
    async with Service(ServiceSettings(api=keystone(cloud)), actions=(spy(),)) as service:
        transport = httpx.ASGITransport(app=service.application(), raise_app_exceptions=False)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://host", headers={"X-Auth-Token": cloud.token("ann", "p1", "member")}
        ) as client:
            api = Api(client, service)
            await api("POST", "/v2/workflows", 201, content="version: '2.0'\nwf: {tasks: {t: {action: spy}}}\n")
            given = {"name": "c", "workflow_name": "wf", "pattern": "* * * * * *", "remaining_executions": 1}
            made = await api("POST", "/v2/cron_triggers", 201, json=given)
            assert "trust" not in json.dumps(made)
            [trust] = cloud.trusts.values()
            assert (trust["trustor_user_id"], trust["impersonation"], trust["roles"]) == (
                "ann-id",
                True,
                [{"name": "member"}],
            )

            async def gone() -> bool:
                return not cloud.trusts

            await api.until(gone)
            [run] = (await api("GET", "/v2/executions", 200))["executions"]
            assert json.loads(run["description"])["triggered_by"]["id"] == made["id"]
            assert SEEN[0]["auth_token"] == "of-trust0"
            await api("POST", "/v2/cron_triggers", 201, json={**given, "pattern": "* * * * * *", "name": "d"})
            cloud.trusts.clear()  # revoked behind our back

            async def given_up() -> bool:
                return (await api.client.get("/v2/cron_triggers/d")).status_code == 404

            await api.until(given_up)  # said in the log, and not tried again for ever
            await api("POST", "/v2/cron_triggers", 201, json={**given, "pattern": "0 0 1 1 *"})
            assert len(cloud.trusts) == 1
            await api("POST", "/v2/cron_triggers", 409, json={**given, "pattern": "0 0 1 1 *"})
            assert len(cloud.trusts) == 1  # that of the refused one is gone again
            await api("DELETE", "/v2/cron_triggers/c", 204)
            assert cloud.trusts == {}


async def test_actions_receive_the_second_cloud_of_the_target_headers(api: Api) -> None:
    SEEN.clear()
    api.service.registry._add(spy())
    catalog = base64.b64encode(json.dumps([{"type": "compute"}]).encode()).decode()
    target = {
        "X-Target-Auth-Uri": "http://cloud2/v3",
        "X-Target-Auth-Token": "t2",
        "X-Target-Project-Id": "theirs",
        "X-Target-Insecure": "True",
        "X-Target-Service-Catalog": catalog,
        "X-Region-Name": "north",
    }
    await api("POST", "/v2/workflows", 201, content="version: '2.0'\nwf: {tasks: {t: {action: spy}}}\n")
    run = await api("POST", "/v2/executions", 201, json={"workflow_name": "wf"}, headers=target)
    assert run["project_id"] == "<default-project>"  # it stays with who asks
    assert (await api.wait(run["id"]))["state"] == "SUCCESS"
    expected = {
        "auth_uri": "http://cloud2/v3",
        "auth_token": "t2",
        "project_id": "theirs",
        "insecure": True,
        "service_catalog": [{"type": "compute"}],
        "region_name": "north",
    }
    await api("POST", "/v2/action_executions", 201, json={"name": "spy"}, headers=target)
    assert [expected, expected] == SEEN
    refused = {"workflow_name": "wf", "input": {"unknown": 1}}
    await api("POST", "/v2/executions", 400, json=refused, headers=target)
    kept = await api.service.database.reading(lambda c: c.execute(security.select()).all())
    assert [row.root_id for row in kept] == [run["id"]]  # those of what was refused are forgotten
    await api("POST", "/v2/executions", 400, json={"workflow_name": "wf"}, headers={"X-Target-Auth-Uri": "http://x"})
    await api("POST", "/v2/executions", 400, json={"workflow_name": "wf"}, headers={"X-Target-Insecure": "true"})
    await api("POST", "/v2/executions", 400, json={"workflow_name": "wf"}, headers={"X-Target-Service-Catalog": "?"})
