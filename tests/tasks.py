"""Start coroutines as tasks and wait until they have run up to their first suspension."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


async def start(*coroutines: Coroutine[Any, Any, Result]) -> list[asyncio.Task[Result]]:
    """Run `coroutines` as tasks, in their order, and return once each has reached an await that suspends it.

    All take their first step in the same pass of the event loop, before anything that one of them wakes up.
    """

    async def run(coroutine: Coroutine[Any, Any, Result], running: asyncio.Event) -> Result:
        running.set()  # the waiter resumes only after this step
        return await coroutine

    events = [asyncio.Event() for _ in coroutines]
    tasks = [asyncio.create_task(run(*pair)) for pair in zip(coroutines, events, strict=True)]
    for event in events:
        await event.wait()
    return tasks
