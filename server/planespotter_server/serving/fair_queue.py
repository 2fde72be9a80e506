"""Fair queue: round robin over callers, first in, first out for each of them."""

from collections import OrderedDict, deque
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")


class FairQueue(Generic[Item]):
    """A queue in which a caller with many items does not delay a caller with few: `pop` serves callers round robin."""

    def __init__(self) -> None:
        self._queues: OrderedDict[Hashable, deque[Item]] = OrderedDict()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def push(self, caller: Hashable, item: Item) -> None:
        """Append an item to the queue of `caller`."""
        self._queues.setdefault(caller, deque()).append(item)
        self._length += 1

    def pop(self) -> Item:
        """Remove the oldest item of the next caller, which then goes to the end of the round.

        Raises:
            KeyError: The queue is empty.
        """
        caller, queue = self._queues.popitem(last=False)
        item = queue.popleft()
        self._length -= 1
        if queue:
            self._queues[caller] = queue
        return item

    def remove(self, caller: Hashable, item: Item) -> None:
        """Remove an item of `caller` that is still in the queue."""
        queue = self._queues[caller]
        queue.remove(item)
        self._length -= 1
        if not queue:
            del self._queues[caller]

    def oldest_of_each_caller(self) -> Iterator[Item]:
        """Yield the item of each caller that `pop` would return first."""
        return (queue[0] for queue in self._queues.values())

    def clear(self) -> list[Item]:
        """Remove all items and return them."""
        items = [item for queue in self._queues.values() for item in queue]
        self._queues.clear()
        self._length = 0
        return items
