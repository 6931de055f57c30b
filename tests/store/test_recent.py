"""Values that may be a little old."""

from __future__ import annotations

import asyncio
from math import inf

import pytest

from gregale.store.recent import Recent


class Source:
    """Gives 1, 2, 3, … when it is allowed to."""

    def __init__(self) -> None:
        self.asked = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.error: Exception | None = None

    async def __call__(self) -> int:
        self.asked += 1
        number = self.asked
        await self.may_answer.wait()
        if self.error is not None:
            raise self.error
        return number


async def test_one_question_is_asked_for_all_who_want_to_know() -> None:
    source = Source()
    recent = Recent(source, inf)
    assert await asyncio.gather(*(recent.get(60) for _ in range(5))) == [1] * 5


async def test_what_is_not_fresh_is_given_while_it_is_asked_for_again() -> None:
    source = Source()
    recent = Recent(source, 0)
    assert await recent.get(60) == 1
    source.may_answer.clear()
    await asyncio.sleep(0.001)
    assert [await recent.get(60), await recent.get(60)] == [1, 1]
    source.may_answer.set()
    while await recent.get(60) == 1:
        await asyncio.sleep(0)
    assert source.asked >= 2


async def test_what_is_too_old_is_waited_for_and_its_error_is_raised() -> None:
    source = Source()
    recent = Recent(source, 0)
    assert await recent.get(0) == 1
    source.error = OSError("away")
    await asyncio.sleep(0.001)
    with pytest.raises(OSError, match="away"):
        await recent.get(0)
    source.error = None
    assert await recent.get(0) == 3


async def test_an_answer_from_before_it_was_to_be_forgotten_does_not_count() -> None:
    source = Source()
    recent = Recent(source, inf)
    source.may_answer.clear()
    early = asyncio.create_task(recent.get(60))
    await asyncio.sleep(0)
    recent.forget()
    source.may_answer.set()
    assert await recent.get(60) == 2
    assert await early == 1
    assert await recent.get(60) == 2
