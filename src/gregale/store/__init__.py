"""Durable state: the only truth. Tables by family, one batch in one transaction, transient errors retried in one place.

Everything here is synchronous and takes a `Connection`; `Database` runs it in threads of its own. What the database holds is
explained in `schema`; how state becomes rows and rows state, in `rows`, `commit` and `load`.
"""

from gregale.store import cluster_schema
from gregale.store.commit import SwapLost, commit
from gregale.store.database import Database
from gregale.store.failures import OutcomeUnknown, StoreError, Unavailable
from gregale.store.load import load
from gregale.store.migrate import upgrade

__all__ = [
    "Database",
    "OutcomeUnknown",
    "StoreError",
    "SwapLost",
    "Unavailable",
    "cluster_schema",
    "commit",
    "load",
    "upgrade",
]
