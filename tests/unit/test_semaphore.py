"""The fair semaphore: waiters in order of arrival, and no permit lost, whatever becomes of those who wait."""

import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial

import pytest

from taskapi.database.semaphore import FairSemaphore
from tests.support.waiting import wait_until


def start(function: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=function)
    thread.start()
    return thread


def waiters(semaphore: FairSemaphore) -> int:
    return len(semaphore._waiters)


def free(semaphore: FairSemaphore) -> int:
    """How many permits there are to take; nobody else may be using the semaphore."""
    taken = 0
    while semaphore.acquire(0):
        taken += 1
    for _ in range(taken):
        semaphore.release()
    return taken


def test_lets_in_as_many_as_it_was_made_for() -> None:
    semaphore = FairSemaphore(3)
    assert [semaphore.acquire(0) for _ in range(5)] == [True, True, True, False, False]
    semaphore.release()
    assert [semaphore.acquire(0) for _ in range(2)] == [True, False]


@pytest.mark.parametrize("timeout", [0, -1.5, 0.01])
def test_gives_up_when_no_permit_comes(timeout: float) -> None:
    semaphore = FairSemaphore(1)
    assert semaphore.acquire(0)
    assert not semaphore.acquire(timeout)
    semaphore.release()
    assert free(semaphore) == 1


def test_serves_in_the_order_of_arrival() -> None:
    semaphore = FairSemaphore(1)
    assert semaphore.acquire(0)
    served: list[int] = []

    def wait_for_turn(number: int) -> None:
        assert semaphore.acquire(30)
        served.append(number)
        semaphore.release()

    threads = []
    for number in range(30):
        threads.append(start(partial(wait_for_turn, number)))
        wait_until(lambda: waiters(semaphore) == len(threads), "the next one waits")
    semaphore.release()
    for thread in threads:
        thread.join()
    assert served == list(range(30))
    assert free(semaphore) == 1


def test_nobody_overtakes_those_who_wait() -> None:
    semaphore = FairSemaphore(1)
    assert semaphore.acquire(0)
    got: list[bool] = []
    thread = start(lambda: got.append(semaphore.acquire(30)))
    wait_until(lambda: waiters(semaphore) == 1, "one waits")
    semaphore.release()
    assert not semaphore.acquire(0), "the permit belongs to the one who waited"
    thread.join()
    assert got == [True]


def test_who_gave_up_is_passed_over() -> None:
    semaphore = FairSemaphore(1)
    assert semaphore.acquire(0)
    got: list[bool] = []
    impatient = start(lambda: semaphore.acquire(0.05))
    wait_until(lambda: waiters(semaphore) == 1 or not impatient.is_alive(), "the first one waits")
    patient = start(lambda: got.append(semaphore.acquire(30)))
    wait_until(lambda: not impatient.is_alive() and waiters(semaphore) == 1, "the first one has given up")
    semaphore.release()
    patient.join()
    assert got == [True]


def test_no_permit_is_lost_or_doubled_when_timeouts_meet_releases() -> None:
    semaphore = FairSemaphore(3)
    counting = threading.Lock()
    holders, most, successes, failures = 0, 0, 0, 0

    def use(seed: int) -> None:
        nonlocal holders, most, successes, failures
        chance = random.Random(seed)
        for _ in range(400):
            # Times of the same size on both sides, so that many a timeout ends when a permit comes.
            if not semaphore.acquire(chance.uniform(0, 0.002)):
                with counting:
                    failures += 1
                continue
            with counting:
                holders += 1
                most = max(most, holders)
                successes += 1
            time.sleep(chance.uniform(0, 0.0005))
            with counting:
                holders -= 1
            semaphore.release()

    threads = [start(partial(use, seed)) for seed in range(16)]
    for thread in threads:
        thread.join()
    assert most <= 3
    assert successes
    assert failures
    assert (waiters(semaphore), free(semaphore)) == (0, 3)


KILLED_GREENLETS = """
from gevent import monkey
monkey.patch_all()
import gevent
from taskapi.database.semaphore import FairSemaphore

semaphore = FairSemaphore(1)
assert semaphore.acquire(0)

# Killed while it waits: it leaves the queue.
waiting = gevent.spawn(semaphore.acquire, 30)
gevent.idle()
waiting.kill()
semaphore.release()
assert semaphore.acquire(0)

# The kill is on its way when the permit becomes its own: it passes the permit on.
first, second = gevent.spawn(semaphore.acquire, 30), gevent.spawn(semaphore.acquire, 30)
gevent.idle()
first.kill(block=False)
semaphore.release()
assert second.get(timeout=30) is True

# A timeout from outside counts like a kill.
def impatient():
    with gevent.Timeout(0.01, False):
        semaphore.acquire(30)
gevent.spawn(impatient).join()
semaphore.release()
assert semaphore.acquire(0)
assert not semaphore.acquire(0)
"""


def test_no_permit_is_lost_with_a_greenlet_that_is_killed() -> None:
    # In a process of its own, because gevent changes the whole of it, as it does in the service's workers.
    done = subprocess.run([sys.executable, "-c", KILLED_GREENLETS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_permit_that_is_withheld_comes_back() -> None:
    semaphore = FairSemaphore(2)
    assert semaphore.acquire(0)
    assert semaphore.acquire(0)
    assert semaphore.withhold(0.1)
    assert not semaphore.acquire(0)
    assert semaphore.acquire(30), "who waits gets it in time"


def test_the_last_permit_in_use_is_not_withheld() -> None:
    semaphore = FairSemaphore(2)
    assert semaphore.acquire(0)
    assert not semaphore.withhold(60)
    semaphore.release()
    assert free(semaphore) == 2


def test_what_is_withheld_comes_back_at_once_when_it_helps_again() -> None:
    semaphore = FairSemaphore(3)
    for _ in range(3):
        assert semaphore.acquire(0)
    assert semaphore.withhold(60)
    assert semaphore.withhold(60)
    semaphore.restore()
    semaphore.release()
    assert free(semaphore) == 3
