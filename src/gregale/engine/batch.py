"""One batch as one transaction."""

from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy.engine import Connection

from gregale.core import Work
from gregale.store import commit, outbox
from gregale.store.commit import committed


class Batch:
    """Writes what a batch has changed and what the world is told of it; gives the number of notifications.

    Called again after an outcome that nobody heard, it finds its own tag in the rows, and does nothing twice.
    """

    def __init__(self, works: list[Work], notify: tuple[dict[str, Any], ...]):
        self.works = works
        self._notify = notify
        self._tag = str(uuid.uuid4())
        self._letters: int | None = None

    def __call__(self, connection: Connection) -> int:
        if self._letters is not None and committed(connection, self.works, self._tag):
            return self._letters
        self._letters = 0
        commit(connection, self.works, self._tag, outbox.entries(self.works))
        self._letters = outbox.letters(connection, self.works, self._notify)
        return self._letters
