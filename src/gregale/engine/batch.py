"""One batch as one transaction."""

from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy.engine import Connection

from gregale.core import Work
from gregale.store import commit, outbox
from gregale.store.commit import committed
from gregale.store.ownership import change_number


class DefinitionsChanged(Exception):
    """Definitions are not any more what the batch was decided with; nothing of it was written."""


class Batch:
    """Writes what a batch has changed and what the world is told of it; gives the number of notifications.

    Called again after an outcome that nobody heard, it finds its own tag in the rows, and does nothing twice. `definitions`: the
    number of their changes that it was decided with, where it has to be the same still. Raises DefinitionsChanged, SwapLost.
    """

    def __init__(self, works: list[Work], notify: tuple[dict[str, Any], ...], definitions: int | None = None):
        self.works = works
        self._definitions = definitions
        self._notify = notify
        self._tag = str(uuid.uuid4())
        self._letters: int | None = None

    def __call__(self, connection: Connection) -> int:
        if self._letters is not None and committed(connection, self.works, self._tag):
            return self._letters
        if self._definitions is not None and change_number(connection) != self._definitions:
            raise DefinitionsChanged
        self._letters = 0
        commit(connection, self.works, self._tag, outbox.entries(self.works))
        self._letters = outbox.letters(connection, self.works, self._notify)
        return self._letters
