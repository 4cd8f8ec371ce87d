"""The slots: one cap for several processes, and a slot that comes free with its holder, however that ends."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from taskapi.database.slots import Slots, new_file
from tests.support.waiting import wait_until

HOLDER = """
import os, sys
from taskapi.database.slots import Slots

slots = Slots(os.open(sys.argv[1], os.O_RDWR), int(sys.argv[2]))
taken = 0
while taken < int(sys.argv[3]) and slots.take(0) is not None:
    taken += 1
print(taken, flush=True)
sys.stdin.read()
"""

NewSlots = Callable[[int], Slots]
Hold = Callable[..., tuple[int, "subprocess.Popen[str]"]]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The file of the slots, by a name, so that other processes find it."""
    path = tmp_path / "slots"
    path.touch()
    return path


@pytest.fixture
def new_slots(file: Path) -> Iterator[NewSlots]:
    """Call it for this process's slots, of which there are so many."""
    descriptor = os.open(file, os.O_RDWR)
    yield lambda count: Slots(descriptor, count)
    os.close(descriptor)


@pytest.fixture
def hold(file: Path) -> Iterator[Hold]:
    """Call it for one more process that takes `wish` of `count` slots: how many it got, and the process."""
    with ExitStack() as processes:

        def start(count: int, wish: int) -> tuple[int, "subprocess.Popen[str]"]:
            process = processes.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", HOLDER, str(file), str(count), str(wish)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            processes.callback(process.kill)
            assert process.stdout
            return int(process.stdout.readline()), process

        yield start


def test_caps_one_process(new_slots: NewSlots) -> None:
    slots = new_slots(3)
    taken = [slots.take(0) for _ in range(4)]
    assert [slot is None for slot in taken] == [False, False, False, True]
    for slot in taken[:3]:
        assert slot is not None
        slots.free(slot)


def test_caps_all_processes_together(hold: Hold) -> None:
    assert [hold(10, 4)[0] for _ in range(4)] == [4, 4, 2, 0]


def test_caps_each_server(new_slots: NewSlots, hold: Hold) -> None:
    slots, far = new_slots(2), 2**32 - 1
    taken = [slots.take(0, far) for _ in range(3)]
    assert [slot is None for slot in taken] == [False, False, True]
    assert hold(2, 3)[0] == 2
    assert slots.take(0) is None
    assert taken[0] is not None
    slots.free(taken[0])
    assert slots.take(0) is None
    assert slots.take(0, far) == taken[0]


def test_a_slot_given_back_is_there_for_another_process(new_slots: NewSlots, hold: Hold) -> None:
    slots = new_slots(1)
    slot = slots.take(0)
    assert slot is not None
    assert hold(1, 1)[0] == 0
    slots.free(slot)
    assert hold(1, 1)[0] == 1


def test_a_killed_holder_holds_nothing(new_slots: NewSlots, hold: Hold) -> None:
    taken, holder = hold(2, 2)
    assert taken == 2
    slots = new_slots(2)
    assert slots.take(0) is None
    holder.kill()
    holder.wait()
    again = [slots.take(0), slots.take(0)]
    assert None not in again
    for slot in again:
        slots.free(slot)  # type: ignore[arg-type]


def test_a_process_started_by_the_holder_does_not_keep_the_slot(new_slots: NewSlots) -> None:
    slots = new_slots(1)
    slot = slots.take(0)
    assert slot is not None
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    try:
        slots.free(slot)
        again = slots.take(0)
        assert again is not None
        slots.free(again)
    finally:
        child.communicate()


def test_waits_for_a_slot_that_comes_free(new_slots: NewSlots) -> None:
    slots = new_slots(1)
    first = slots.take(0)
    assert first is not None
    got: list[int | None] = []
    thread = threading.Thread(target=lambda: got.append(slots.take(30)))
    thread.start()
    slots.free(first)
    thread.join()
    wait_until(lambda: got, "the slot is taken")
    assert got[0] is not None
    slots.free(got[0])


def test_gives_up_at_its_time(new_slots: NewSlots) -> None:
    slots = new_slots(1)
    slot = slots.take(0)
    assert slot is not None
    assert slots.take(0.05) is None
    slots.free(slot)


def test_a_removed_file_changes_nothing(file: Path, new_slots: NewSlots, hold: Hold) -> None:
    slots = new_slots(2)
    slot = slots.take(0)
    assert slot is not None
    taken, _ = hold(2, 2)
    assert taken == 1
    file.unlink()
    assert slots.take(0) is None
    slots.free(slot)
    assert slots.take(0) == slot


def test_a_file_of_its_own_needs_no_name() -> None:
    descriptor = new_file()
    try:
        slots = Slots(descriptor, 1)
        assert slots.take(0) is not None
        if not os.fork():
            os._exit(Slots(descriptor, 1).take(0) is not None)
        assert os.wait()[1] == 0, "a fork shares the slots, and has none of ours"
    finally:
        os.close(descriptor)


def test_a_call_is_heard_by_the_others(new_slots: NewSlots) -> None:
    caller, other = new_slots(1), new_slots(1)
    assert not other.is_called()
    caller.call()
    assert other.is_called()
    assert not caller.is_called()
    wait_until(lambda: not other.is_called(), "it is forgotten")
