"""Fair queue: round robin over callers, first in, first out for each caller."""

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from planespotter_server.serving.fair_queue import FairQueue


def filled(**callers: str) -> FairQueue[str]:
    """Return a queue with an item per letter: those of the first caller first."""
    queue: FairQueue[str] = FairQueue()
    for caller, items in callers.items():
        for item in items:
            queue.push(caller, item)
    return queue


def drained(queue: FairQueue[str]) -> str:
    return "".join(queue.pop() for _ in range(len(queue)))


def test_callers_are_served_round_robin_and_each_in_order() -> None:
    assert drained(filled(bulk="abcd", single="x", pair="yz")) == "axybzcd"


def test_caller_that_returns_joins_at_the_end_of_the_round() -> None:
    queue = filled(bulk="abc", single="x")
    assert [queue.pop(), queue.pop()] == ["a", "x"]
    queue.push("single", "y")
    assert drained(queue) == "byc"


def test_empty_queue_has_no_length_and_cannot_be_popped() -> None:
    queue = filled()
    assert not queue
    assert list(queue.oldest_of_each_caller()) == []
    with pytest.raises(KeyError):
        queue.pop()
    assert len(queue) == 0


def test_oldest_of_each_caller_is_what_pop_returns_in_the_next_round() -> None:
    queue = filled(bulk="abc", single="x", pair="yz")
    oldest = list(queue.oldest_of_each_caller())
    assert oldest == ["a", "x", "y"]
    assert len(queue) == 6
    assert [queue.pop() for _ in oldest] == oldest


def test_removed_item_is_skipped_and_a_caller_without_items_leaves_the_round() -> None:
    queue = filled(bulk="abc", single="x")
    queue.remove("bulk", "b")
    queue.remove("single", "x")
    assert len(queue) == 2
    assert drained(queue) == "ac"


def test_item_that_is_not_in_the_queue_cannot_be_removed() -> None:
    queue = filled(bulk="a")
    with pytest.raises(KeyError):
        queue.remove("single", "a")
    with pytest.raises(ValueError, match="not in deque"):
        queue.remove("bulk", "b")
    assert drained(queue) == "a"


def test_clear_returns_all_items_and_the_queue_can_be_used_again() -> None:
    queue = filled(bulk="ab", single="x")
    assert sorted(queue.clear()) == ["a", "b", "x"]
    assert not queue
    queue.push("single", "y")
    assert drained(queue) == "y"


CALLERS = st.integers(0, 4)


class FairQueueMachine(RuleBasedStateMachine):
    """Compares the queue with a model: a list of the waiting items, and who was served while each caller waits."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: FairQueue[int] = FairQueue()
        self.waiting: list[tuple[int, int]] = []  # (caller, item), in the order of arrival
        self.next_item = 0
        self.served_since: dict[int, Counter[int]] = {}  # by waiting caller: pops of others since its last turn

    @rule(caller=CALLERS)
    def push(self, caller: int) -> None:
        self.queue.push(caller, self.next_item)
        self.waiting.append((caller, self.next_item))
        self.served_since.setdefault(caller, Counter())
        self.next_item += 1

    @precondition(lambda self: self.waiting)
    @rule()
    def pop(self) -> None:
        item = self.queue.pop()
        caller = next(caller for caller, waiting in self.waiting if waiting == item)
        assert item == min(waiting for other, waiting in self.waiting if other == caller)
        self._forget(caller, item)
        for other, served in self.served_since.items():
            if other != caller:
                served[caller] += 1
                assert served[caller] == 1, "no caller is served twice while another waits"
        if caller in self.served_since:
            self.served_since[caller] = Counter()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        caller, item = data.draw(st.sampled_from(self.waiting))
        self.queue.remove(caller, item)
        self._forget(caller, item)

    @rule()
    def clear(self) -> None:
        assert sorted(self.queue.clear()) == [item for _, item in self.waiting]
        self.waiting.clear()
        self.served_since.clear()

    def _forget(self, caller: int, item: int) -> None:
        self.waiting.remove((caller, item))
        if all(other != caller for other, _ in self.waiting):
            del self.served_since[caller]

    @invariant()
    def length_and_oldest_items_match(self) -> None:
        assert len(self.queue) == len(self.waiting)
        assert bool(self.queue) == bool(self.waiting)
        oldest: dict[int, int] = {}
        for caller, item in self.waiting:
            oldest.setdefault(caller, item)
        assert sorted(self.queue.oldest_of_each_caller()) == sorted(oldest.values())


FairQueueMachine.TestCase.settings = settings(deadline=None)
TestFairQueue = FairQueueMachine.TestCase
