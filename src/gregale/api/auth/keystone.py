"""Keystone (API spec 3.1, 3.5): tokens validated against the real API, and believed for a while; trusts for triggers.

Needs the extra `gregale[keystone]`.
"""

from __future__ import annotations

import asyncio
import calendar
import hashlib
import logging
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
from keystoneauth1 import exceptions, session
from keystoneauth1.identity import v3

from gregale.api.auth.identity import Identity, Unauthenticated, Unreachable
from gregale.api.auth.settings import KeystoneSettings
from gregale.api.auth.ways import given_token
from gregale.core import NotAllowed

log = logging.getLogger("gregale.api.keystone")

_MOST = 10_000


class Keystone:
    """`keystoneauth1` is synchronous: it runs in threads of its own. What is cached is keyed by the token's hash."""

    def __init__(self, settings: KeystoneSettings):
        self._settings = settings
        plugin = v3.Password(
            auth_url=settings.auth_url,
            username=settings.username,
            password=settings.password,
            project_name=settings.project_name,
            user_domain_name=settings.user_domain,
            project_domain_name=settings.project_domain,
        )
        self._session = session.Session(auth=plugin, verify=settings.verify, timeout=10)
        self._threads = ThreadPoolExecutor(8, "keystone")
        self._local: dict[str, tuple[float, dict[str, Any]]] = {}
        self._shared: Any = None
        if settings.memcached:
            from pymemcache.client.hash import HashClient

            self._shared = HashClient(
                list(settings.memcached), connect_timeout=0.5, timeout=0.5, ignore_exc=True, use_pooling=True
            )

    async def identify(self, headers: Mapping[str, str]) -> Identity:
        """Raises Unauthenticated, Unreachable."""
        token = given_token(headers)
        key = hashlib.sha256(token.encode()).hexdigest()
        at, found = self._local.get(key, (0.0, {}))
        if time.monotonic() - at > self._settings.cache or _expired(found):
            found = await self._run(self._validated, token, key)
            if len(self._local) >= _MOST:
                self._local.clear()
            self._local[key] = (time.monotonic(), found)
        return _identity(found, token)

    async def _run(self, function: Any, *given: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *given)

    def _validated(self, token: str, key: str) -> dict[str, Any]:
        name = f"gregale/token/{key}"
        if self._shared is not None:
            cached = self._shared.get(name)
            if cached:
                found: dict[str, Any] = msgspec.json.decode(cached)
                if not _expired(found):
                    return found
        found = self._ask(token)
        if self._shared is not None:
            self._shared.set(name, msgspec.json.encode(found), expire=max(1, int(self._settings.cache)))
        return found

    def _ask(self, token: str) -> dict[str, Any]:
        try:
            answer = self._session.get(
                f"{self._settings.auth_url.rstrip('/')}/auth/tokens",
                headers={"X-Subject-Token": token},
                authenticated=True,
            )
        except (exceptions.NotFound, exceptions.BadRequest):
            raise Unauthenticated("Failed to validate access token: Keystone does not know it, or no longer") from None
        except exceptions.ClientException as e:
            log.error("tokens cannot be validated: %s", e)
            raise Unreachable("Keystone does not answer; try again later") from None
        found: dict[str, Any] = answer.json()["token"]
        if "project" not in found:
            raise Unauthenticated("Failed to validate access token: it is not scoped to a project")
        if _expired(found):
            raise Unauthenticated("Failed to validate access token: it has expired")
        return found

    # Trusts ---------------------------------------------------------------------------------------------------------

    async def create_trust(self, token: str) -> dict[str, Any]:
        """Let the service user act for the owner of a token later on; gives what identifies the trust."""
        return await self._run(self._create_trust, token)  # type: ignore[no-any-return]

    def _create_trust(self, token: str) -> dict[str, Any]:
        owner = self._ask(token)
        trust = {
            "trustor_user_id": owner["user"]["id"],
            "trustee_user_id": self._session.get_user_id(),
            "impersonation": True,
            "project_id": owner["project"]["id"],
            "roles": [{"name": r["name"]} for r in owner.get("roles", [])],
        }
        url = f"{self._settings.auth_url.rstrip('/')}/OS-TRUST/trusts"
        try:
            answer = self._session.post(
                url, json={"trust": trust}, authenticated=False, headers={"X-Auth-Token": token}
            )
        except exceptions.HttpError as e:
            if e.http_status < 500:
                raise NotAllowed(f"Keystone refused the trust that a trigger needs: {e}") from None
            raise Unreachable(f"Keystone could not make the trust that a trigger needs: {e}") from None
        except exceptions.ClientException as e:
            raise Unreachable(f"Keystone does not answer: {e}") from None
        return {
            "trust_id": answer.json()["trust"]["id"],
            "project_id": owner["project"]["id"],
            "user_id": owner["user"]["id"],
        }

    async def delete_trust(self, trust_id: str) -> None:
        """One that is gone already is as good."""
        await self._run(self._delete_trust, trust_id)

    def _delete_trust(self, trust_id: str) -> None:
        auth = self._trusted(trust_id)
        try:
            session.Session(auth=auth, verify=self._settings.verify, timeout=10).delete(
                f"{self._settings.auth_url.rstrip('/')}/OS-TRUST/trusts/{trust_id}"
            )
        except exceptions.ClientException as e:
            log.warning("trust %s could not be deleted: %s", trust_id, e)

    async def trusted_token(self, trust_id: str) -> str:
        """A token of the trust, for the actions of what a trigger starts. Raises NotAllowed for a trust that is gone: trying again
        would not help; and what keystoneauth1 raises for a Keystone that does not answer."""
        plain = session.Session(verify=self._settings.verify, timeout=10)
        try:
            return str(await self._run(self._trusted(trust_id).get_token, plain))
        except (exceptions.Unauthorized, exceptions.Forbidden, exceptions.NotFound) as e:
            raise NotAllowed(f"The trigger's trust is not valid any more: {e}") from None

    def _trusted(self, trust_id: str) -> v3.Password:
        settings = self._settings
        return v3.Password(
            auth_url=settings.auth_url,
            username=settings.username,
            password=settings.password,
            user_domain_name=settings.user_domain,
            trust_id=trust_id,
        )

    async def close(self) -> None:
        self._threads.shutdown(wait=False)
        if self._shared is not None:
            self._shared.close()


def _expired(found: dict[str, Any]) -> bool:
    text = str(found.get("expires_at", ""))[:19]
    try:
        return calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%S")) <= time.time()
    except ValueError:
        return True


def _identity(found: dict[str, Any], token: str) -> Identity:
    project = str(found["project"]["id"])
    user = found.get("user", {})
    credentials = {
        "auth_token": token,
        "project_id": project,
        "project_name": found["project"].get("name"),
        "user_id": user.get("id"),
        "user_name": user.get("name"),
        "service_catalog": found.get("catalog"),
    }
    roles = tuple(str(r["name"]) for r in found.get("roles", []))
    return Identity(project, str(user.get("id", "")), roles, credentials=credentials)
