"""The ways of telling who asks that need no other service, and the choice among all of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from gregale.api.auth.identity import DEFAULT_PROJECT, Authenticator, Identity, Unauthenticated, split_roles
from gregale.api.auth.settings import AuthSettings, StaticToken


def authenticator(settings: AuthSettings) -> Authenticator:
    """Raises ValueError where the chosen mode lacks its settings, ImportError where it lacks its packages."""
    if settings.mode == "tokens":
        return Tokens(settings.tokens)
    if settings.mode == "keystone":
        if settings.keystone is None:
            raise ValueError(
                "auth.mode is keystone, but there is no section auth.keystone (auth_url, username, password)"
            )
        from gregale.api.auth.keystone import Keystone

        return Keystone(settings.keystone)
    if settings.mode == "oidc":
        if settings.oidc is None:
            raise ValueError("auth.mode is oidc, but there is no section auth.oidc (issuer)")
        from gregale.api.auth.oidc import Oidc

        return Oidc(settings.oidc)
    return Headers(believed=settings.mode == "headers")


class Headers:
    """Nobody is authenticated: everything belongs to one project, or, when `believed`, to the one that the headers name."""

    def __init__(self, believed: bool):
        self._believed = believed

    async def identify(self, headers: Mapping[str, str]) -> Identity:
        roles = split_roles(headers.get("x-roles", ""))
        project = headers.get("x-project-id", "") if self._believed else ""
        return Identity(
            project or DEFAULT_PROJECT, headers.get("x-user-id", ""), roles, operator=True, authenticated=self._believed
        )

    async def close(self) -> None:
        pass


def given_token(headers: Mapping[str, str]) -> str:
    """X-Auth-Token, or Authorization: Bearer. Raises Unauthenticated."""
    token = headers.get("x-auth-token", "")
    kind, _, bearer = headers.get("authorization", "").partition(" ")
    if not token and kind.lower() == "bearer":
        token = bearer.strip()
    if not token:
        raise Unauthenticated("A token is required: send it in the header X-Auth-Token or as Authorization: Bearer")
    return token


class Tokens:
    """Static tokens, known by their hashes."""

    def __init__(self, tokens: tuple[StaticToken, ...]):
        self._tokens = {t.sha256.lower(): t for t in tokens}

    async def identify(self, headers: Mapping[str, str]) -> Identity:
        # looked up by its hash: how long that takes says nothing about any token
        found = self._tokens.get(hashlib.sha256(given_token(headers).encode()).hexdigest())
        if found is None:
            raise Unauthenticated("Failed to validate access token: it is not known here")
        return Identity(found.project, found.user, found.roles)

    async def close(self) -> None:
        pass
