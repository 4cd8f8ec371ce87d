"""Fills a new database with six weeks of a small team's tasks: those of ann, of ben, and of their agent, agent-7."""

import heapq
import random
import re
from collections.abc import Callable, Iterator
from datetime import datetime, time, timedelta
from itertools import count, groupby
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson

from examples.react.demo.past import Past
from taskapi.repository import Repository
from taskapi.repository.base import Origin
from taskapi.repository.undo import Chosen

TASKS = Path(__file__).with_name("tasks.txt")
"""A task a line, in the order of creation: title | description | the title that it had at first. + is agent-7's."""

DAYS = 42
HOUR = 1 / 265
"""An hour as a share of the working time of these days."""

NOTES = [
    "half done",
    "waiting for an answer",
    "more work than it looked",
    "asked once more",
    "only the last part is missing",
    "not before next week",
    "took a first look",
    "see the notes on the whiteboard",
]


def fill(url: str, now: datetime | None = None) -> None:
    """Write what has happened up to `now`, which is the same each time but for the ids. Raises NotEmpty."""
    with Past.of(url) as past:
        Story(past).tell((now or datetime.now()).astimezone())


class Story:
    """What happens to the tasks. It is made of lives, which all go on at the same time.

    A life yields when it goes on, as a share of the working time of the six weeks. After 1, it does not.
    """

    def __init__(self, past: Past) -> None:
        self._past = past
        self._repository = Repository(past)
        # The same story each time, in which little is forgotten that a team would not forget.
        self._chance = random.Random(16)  # noqa: S311
        self._numbers = count()
        self._lives: list[tuple[float, int, Iterator[float]]] = []

    def tell(self, now: datetime) -> None:
        """All of it. What agent-7 does last is of today, however young the day is."""
        midnight = datetime.combine(now.date(), time()).astimezone()
        last_hour = min(timedelta(minutes=50), (now - midnight) * 0.8)
        moment_of = working_time(now - last_hour)
        self._begin()
        while self._lives:
            share, _, life = heapq.heappop(self._lives)
            self._past.now = moment_of(share)
            self._go_on(life)
        self._past.now = now - last_hour
        self._end(last_hour)

    def _go_on(self, life: Iterator[float]) -> None:
        if (share := next(life, 2.0)) < 1:
            # The number, since lives cannot be compared.
            heapq.heappush(self._lives, (share, next(self._numbers), life))

    def _begin(self) -> None:
        lines = [line.split(" | ") for line in TASKS.read_text(encoding="utf-8").splitlines()]
        place = 0.0
        for is_found, tasks in groupby(lines, key=lambda line: line[0].startswith("+ ")):
            of_run = [*tasks]
            if is_found:
                self._go_on(self._found(place, of_run))
            else:
                for number, task in enumerate(of_run):
                    self._go_on(self._task(place + (number + self._chance.random()) / len(lines), *task))
            place += len(of_run) / len(lines)
        for week in range(5):
            self._go_on(self._triage((week + 0.93) / 6, is_hasty=week == 2))

    def _task(self, share: float, title: str, description: str | None = None, earlier: str = "") -> Iterator[float]:
        """Somebody thinks of a task, and says better what it is a little later."""
        yield share
        owner = self._chance.choice(["ann", "ben"])
        later = description if self._chance.random() < 0.4 else None
        written = self._repository.create_task(
            title=earlier or title, description=None if later else description, origin=self._by(owner)
        )
        task_id = UUID(orjson.loads(written.task)["id"])
        for changes in [{"title": title}] * bool(earlier) + [{"description": later}] * bool(later):
            yield (share := share + self._chance.expovariate(1 / (3 * HOUR)))
            self._repository.update_task(task_id=task_id, changes=changes, origin=self._by(owner))
        yield from self._work(share, task_id, owner)

    def _found(self, share: float, tasks: list[list[str]]) -> Iterator[float]:
        """agent-7 makes tasks of what the inbox tells. Ann and ben work on them, but for the duplicates."""
        yield share
        asked = [{"title": title.removeprefix("+ "), "description": description} for title, description in tasks]
        there = {task["title"] for task in self._tasks()}
        written = self._repository.create_tasks(tasks=asked, origin=self._by_agent("inbox"))
        for task in orjson.loads(written.tasks):
            if task["title"] not in there:
                self._go_on(self._work(share, UUID(task["id"]), self._chance.choice(["ann", "ben"])))

    def _work(self, share: float, task_id: UUID, owner: str) -> Iterator[float]:
        """Somebody works on a task, until it is complete, or not wanted any more."""
        chance, repository = self._chance, self._repository
        effort = 2 * HOUR + chance.expovariate(1 / (56 * HOUR))
        notes = chance.sample(NOTES, chance.randrange(4))
        for note, part in zip(notes, sorted(chance.random() for _ in notes), strict=True):
            yield share + part * effort
            if text := self._task_of(task_id)["description"]:
                changes = {"description": f"{text}\n{self._past.now.day} {self._past.now:%B}: {note}."}
                repository.update_task(task_id=task_id, changes=changes, origin=self._by_either(owner))
        yield (share := share + effort)
        fates = {"done": 59, "done too early": 9, "the wrong one": 6, "left": 12, "dropped": 11, "missed": 3}
        (fate,) = chance.choices([*fates], [*fates.values()])
        if fate == "left":
            return
        if fate in ("dropped", "missed"):
            repository.delete_task(task_id=task_id, origin=self._by_either(owner))
            if fate == "missed":
                yield share + HOUR
                repository.restore_task(task_id=task_id, origin=self._by_either(owner))
            return
        written = repository.set_task_completed(task_id=task_id, is_completed=True, origin=self._by_either(owner))
        if fate == "done":
            return
        if fate == "the wrong one":
            yield (share := share + HOUR / 10)
            assert written.version
            repository.undo_change(task_id=task_id, version=written.version, origin=self._by_either(owner))
        else:
            yield (share := share + 5 * HOUR)
            repository.set_task_completed(task_id=task_id, is_completed=False, origin=self._by_either(owner))
        yield share + 9 * HOUR
        repository.set_task_completed(task_id=task_id, is_completed=True, origin=self._by_either(owner))

    def _triage(self, share: float, *, is_hasty: bool) -> Iterator[float]:
        """agent-7 notes the age of old tasks and deletes duplicates. Once it goes too far, and ann undoes it."""
        yield share
        origin, tasks = self._by_agent("triage"), self._tasks()
        old = [task for task in reversed(tasks) if not task["is_completed"]][:9]
        changes = []
        for task in old:
            text = re.sub(r"\n?Open for \d+ days\.", "", task["description"] or "")
            days = (self._past.now - datetime.fromisoformat(task["created_at"])).days
            changes.append({"id": task["id"], "description": f"{text}\nOpen for {days} days.".strip()})
        self._repository.update_tasks(changes=changes, origin=origin)
        titles = [task["title"] for task in tasks]
        if duplicates := [UUID(task["id"]) for place, task in enumerate(tasks) if task["title"] in titles[place + 1 :]]:
            self._repository.delete_tasks(task_ids=duplicates, origin=origin)
        if is_hasty:
            shouted = [{"id": task["id"], "title": f"URGENT: {task['title']}"} for task in old]
            self._repository.update_tasks(changes=shouted, origin=origin)
            yield share + HOUR / 2
            chosen = Chosen(change_set=origin.change_set)
            self._repository.undo(chosen=chosen, skip_conflicts=True, origin=self._by("ann"))

    def _end(self, last_hour: timedelta) -> None:
        """A run that one would like to take back, and a title that ann has put right by hand since."""
        repository, origin = self._repository, self._by_agent("triage")
        tasks = [task for task in self._tasks() if not task["is_completed"]][2:16]
        renamed, deleted = tasks[:12], [UUID(task["id"]) for task in tasks[12:]]
        changes = [{"id": task["id"], "title": f"[P2] {task['title']}"} for task in renamed]
        repository.update_tasks(changes=changes, origin=origin)
        completed = [UUID(task["id"]) for task in renamed[4:7]]
        repository.set_tasks_completed(task_ids=completed, is_completed=True, origin=origin)
        repository.delete_tasks(task_ids=deleted, origin=origin)
        self._past.now += last_hour * 0.4
        title = f"{renamed[0]['title']}, before Friday"
        repository.update_task(task_id=UUID(renamed[0]["id"]), changes={"title": title}, origin=self._by("ann"))
        self._past.now += last_hour * 0.5
        repository.create_task(
            title="Find out what agent-7 has done", description="Half of the titles look odd.", origin=self._by("ben")
        )

    def _tasks(self) -> list[dict[str, Any]]:
        """All of them: the open ones first, then the newest first."""
        tasks: list[dict[str, Any]] = orjson.loads(self._repository.list_tasks().tasks or b"[]")
        return tasks

    def _task_of(self, task_id: UUID) -> dict[str, Any]:
        task: dict[str, Any] = orjson.loads(self._repository.get_task(task_id=task_id).task)
        return task

    def _by(self, person: str) -> Origin:
        return Origin(person, f"{self._chance.getrandbits(128):032x}")

    def _by_either(self, owner: str) -> Origin:
        """Sometimes the other one helps."""
        return self._by(owner if self._chance.random() < 0.8 else {"ann": "ben", "ben": "ann"}[owner])

    def _by_agent(self, purpose: str) -> Origin:
        """A run of agent-7: one change set, and one request id."""
        return Origin("agent-7", f"{self._chance.getrandbits(128):032x}", f"{purpose}-{self._past.now:%Y-%m-%d}")


def working_time(ends: datetime) -> Callable[[float], datetime]:
    """What makes a moment of a share, from 0 to 1, of the working time of the last DAYS before `ends`."""
    shifts = []
    for age in range(DAYS, -1, -1):
        day = ends.date() - timedelta(days=age)
        for opens, hours in [(9, 3.5), (13, 5)] if day.weekday() < 5 else [(10, 1.5)]:
            starts = datetime.combine(day, time(opens)).astimezone()
            if starts < ends:
                shifts.append((starts, min(timedelta(hours=hours), ends - starts)))
    whole = sum((length for _, length in shifts), timedelta())

    def moment_of(share: float) -> datetime:
        left = whole * share
        for starts, length in shifts:
            if left < length:
                return starts + left
            left -= length
        raise ValueError(share)

    return moment_of
