"""Who asks: identities, the ways of telling them, and what each role may do (API spec 3)."""

from gregale.api.auth.identity import DEFAULT_PROJECT, Authenticator, Identity, Unauthenticated, Unreachable
from gregale.api.auth.policy import BadPolicy, Policy
from gregale.api.auth.settings import AuthSettings
from gregale.api.auth.ways import authenticator

__all__ = [
    "DEFAULT_PROJECT",
    "AuthSettings",
    "Authenticator",
    "BadPolicy",
    "Identity",
    "Policy",
    "Unauthenticated",
    "Unreachable",
    "authenticator",
]
