"""How callers are told apart."""

from __future__ import annotations

from typing import Literal

import msgspec


class StaticToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`sha256`: the hex digest of the token itself, which is kept nowhere."""

    sha256: str
    project: str
    user: str = ""
    roles: tuple[str, ...] = ("member",)


class KeystoneSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The service user with which tokens are validated against Keystone's API v3, and trusts are held. `cache`: seconds that a
    validated token is believed; `memcached`: servers (host:port) that share what was validated."""

    auth_url: str
    username: str
    password: str
    project_name: str = "service"
    user_domain: str = "Default"
    project_domain: str = "Default"
    cache: float = 300.0
    memcached: tuple[str, ...] = ()
    verify: bool = True


class OidcSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """JSON Web Tokens. `issuer`: the exact issuer, or one with `*` for a part without `/` (Keycloak: a realm). `jwks_url`: where its
    keys are, found by OpenID discovery without it. `project_claim`: the claim that holds the project; without it, what `*`
    stood for, else the issuer's last part. Claims inside others are written with dots. `userinfo_url` asks the provider itself
    about each token, `%s` standing for the realm."""

    issuer: str
    audience: str | None = None
    jwks_url: str | None = None
    algorithms: tuple[str, ...] = ("RS256", "ES256", "PS256")
    project_claim: str | None = None
    user_claim: str = "sub"
    roles_claim: str = "realm_access.roles"
    userinfo_url: str | None = None
    keys_cache: float = 600.0
    leeway: float = 30.0


class AuthSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`mode`: `none` (everything belongs to one project), `headers` (X-Project-Id, X-User-Id and X-Roles are believed: for
    development, or behind a proxy that authenticates), `tokens`, `keystone` or `oidc`."""

    mode: Literal["none", "headers", "tokens", "keystone", "oidc"] = "none"
    tokens: tuple[StaticToken, ...] = ()
    keystone: KeystoneSettings | None = None
    oidc: OidcSettings | None = None
    policy_file: str | None = None
