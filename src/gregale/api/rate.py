"""How often a project may ask: a token bucket each."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from gregale.api.problems import TooMany

_MOST = 10_000


class Rate:
    """`rate` requests a second, `burst` at once; a rate of 0 is no bound."""

    def __init__(self, rate: float, burst: int, clock: Callable[[], float]):
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def require(self, project: str) -> None:
        """Raises TooMany."""
        if not self._rate:
            return
        now = self._clock()
        left, at = self._left.pop(project, (float(self._burst), now))
        left = min(float(self._burst), left + max(0.0, now - at) * self._rate)
        allowed = left >= 1
        self._left[project] = (left - 1 if allowed else left, now)
        if len(self._left) > _MOST:
            self._left.popitem(last=False)
        if not allowed:
            raise TooMany(
                f"This project makes more than {self._rate:g} requests a second; wait and try again",
                (1 - left) / self._rate,
            )
