"""JSON Web Tokens of an OpenID provider, such as Keycloak (API spec 3.1). Needs the extra `gregale[oidc]`."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from typing import Any

import httpx
import jwt

from gregale.api.auth.identity import Identity, Unauthenticated, Unreachable
from gregale.api.auth.settings import OidcSettings
from gregale.api.auth.ways import given_token

_FETCH_AT_MOST_EVERY = 5.0


class Oidc:
    """Signatures are checked with the issuer's published keys, which are fetched again when an unknown one is named."""

    def __init__(self, settings: OidcSettings):
        self._settings = settings
        pattern = re.escape(settings.issuer.rstrip("/")).replace(r"\*", "([^/]+)")
        self._issuer = re.compile(pattern + "/?")
        self._http = httpx.AsyncClient(timeout=10)
        self._keys: dict[str, tuple[float, dict[str, jwt.PyJWK]]] = {}
        self._fetching = asyncio.Lock()

    async def identify(self, headers: Mapping[str, str]) -> Identity:
        token = given_token(headers)
        settings = self._settings
        try:
            unverified = jwt.decode(token, options={"verify_signature": False})
            header = jwt.get_unverified_header(token)
            issuer = str(unverified.get("iss", ""))
            fitting = self._issuer.fullmatch(issuer)
            if fitting is None:
                raise Unauthenticated(f"Failed to validate access token: its issuer '{issuer}' is not trusted")
            realm = fitting.group(1) if fitting.groups() else issuer.rstrip("/").rpartition("/")[2]
            key = await self._key(issuer, str(header.get("kid", "")))
            claims = jwt.decode(
                token,
                key,
                algorithms=list(settings.algorithms),
                audience=settings.audience,
                issuer=issuer,
                leeway=settings.leeway,
                options={"verify_aud": settings.audience is not None, "require": ["exp", "iss"]},
            )
        except jwt.PyJWTError as e:
            raise Unauthenticated(f"Failed to validate access token: {e}") from None
        except httpx.HTTPError as e:
            raise Unreachable(f"The keys of the issuer cannot be read: {e}") from None
        except (ValueError, KeyError) as e:
            raise Unauthenticated(f"Failed to validate access token: {e}") from None
        if settings.userinfo_url:
            await self._confirm(token, settings.userinfo_url.replace("%s", realm))
        project = _claim(claims, settings.project_claim) if settings.project_claim else realm
        roles = _claim(claims, settings.roles_claim)
        if not isinstance(project, str) or not project:
            raise Unauthenticated(
                f"Failed to validate access token: no project in its claim '{settings.project_claim}'"
            )
        return Identity(
            project,
            str(_claim(claims, settings.user_claim) or ""),
            tuple(str(r) for r in roles) if isinstance(roles, list) else (),
            credentials={"auth_token": token, "project_id": project},
        )

    async def _confirm(self, token: str, url: str) -> None:
        try:
            answer = await self._http.get(url, headers={"Authorization": f"Bearer {token}"})
        except httpx.HTTPError as e:
            raise Unreachable(f"The provider does not answer: {e}") from None
        if answer.status_code != 200:
            raise Unauthenticated(f"Failed to validate access token: the provider answered {answer.status_code}")

    async def _key(self, issuer: str, kid: str) -> jwt.PyJWK:
        """Raises KeyError for a key that the issuer does not publish."""
        async with self._fetching:
            at, keys = self._keys.get(issuer, (0.0, {}))
            age = time.monotonic() - at
            if not at or age > self._settings.keys_cache or (kid not in keys and age > _FETCH_AT_MOST_EVERY):
                keys = await self._fetch(issuer)
                self._keys[issuer] = (time.monotonic(), keys)
        if kid not in keys:
            raise KeyError(f"no key '{kid}'")
        return keys[kid]

    async def _fetch(self, issuer: str) -> dict[str, jwt.PyJWK]:
        url = self._settings.jwks_url
        if url is None:
            found = await self._http.get(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
            url = str(found.raise_for_status().json()["jwks_uri"])
        published = (await self._http.get(url)).raise_for_status().json()
        return {str(k.get("kid", "")): jwt.PyJWK(k) for k in published["keys"] if k.get("use", "sig") == "sig"}

    async def close(self) -> None:
        await self._http.aclose()


def _claim(claims: Any, path: str) -> Any:
    for part in path.split("."):
        claims = claims.get(part) if isinstance(claims, dict) else None
    return claims
