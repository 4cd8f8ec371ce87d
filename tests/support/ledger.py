"""What clients were told about their writes, and whether the database tells the same."""

import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import count

from tests.support.load import Answer, Client
from tests.support.replay import assert_replay_equals_tasks
from tests.support.sql import Sql

NOTHING = "Nothing was written"
UNKNOWN = "A write may have happened"

PLAN = ["CREATED", "UPDATED", "COMPLETED", "INCOMPLETED", "UPDATED", "DELETED"]
"""The life of each task: what its client asks for, one after the other."""


@dataclass
class Story:
    """One task, as its client knows it: the changes that were acknowledged, and the next one where it is unknown.

    A client that `insists` repeats each change with its Idempotency-Key until it is acknowledged.
    """

    title: str
    task_id: str = ""
    insists: bool = False
    acknowledged: list[str] = field(default_factory=list)
    unknown: str | None = None

    @property
    def is_over(self) -> bool:
        return self.acknowledged == PLAN or (self.unknown is not None and not self.insists)

    @property
    def key(self) -> str | None:
        """The Idempotency-Key of the next change, where its client insists."""
        return f"{self.title}, change {len(self.acknowledged)}" if self.insists else None

    def told_by(self, actions: list[str]) -> bool:
        """Whether these entries of the history fit: all that was acknowledged, once, and nothing that was refused."""
        return actions in (self.acknowledged, [*self.acknowledged, self.unknown])


class Ledger:
    """The stories of all clients. `step` is for a crowd to repeat; `check` is for afterwards."""

    def __init__(self) -> None:
        self.answers: Counter[str] = Counter()
        self.slowest = 0.0
        self.last: dict[int, float] = {}
        """When each client's last write was acknowledged, as a time.monotonic()."""
        self._stories: list[Story] = []
        self._current: dict[int, Story] = {}
        self._titles = count()
        self._not_written: set[str] = set()

    @property
    def acknowledged(self) -> int:
        return self.answers["acknowledged"]

    def step(self, client: Client, number: int, *, insists: bool = False) -> Answer:
        """One write of one client: the next change of its task, or the same again where nothing was written.

        A client that `insists` has keys, and repeats a change also where it may have been written.
        """
        story = self._current.get(number)
        if story is None or story.is_over:
            story = self._current[number] = Story(f"task {next(self._titles)} of client {number}", insists=insists)
            self._stories.append(story)
        action = PLAN[len(story.acknowledged)]
        answer = _request(client, story, action)
        self.slowest = max(self.slowest, answer.seconds)
        if answer.status in (200, 201):
            story.unknown = None
            self.last[number] = time.monotonic()
            story.acknowledged.append(action)
            if action == "CREATED":
                story.task_id = answer.data["id"]
            self.answers["acknowledged"] += 1
            return answer
        assert answer.status == 503, f"{answer.status} for {action}: {answer.body!r}"
        assert int(answer.headers["Retry-After"]) >= 1
        if UNKNOWN in answer.envelope["error"]:
            story.unknown = action
            self.answers["unknown"] += 1
        else:
            assert NOTHING in answer.envelope["error"]
            self._not_written.add(answer.headers["X-Request-Id"])
            self.answers["refused"] += 1
        return answer

    def check(self, sql: Sql) -> None:
        """Nothing that was acknowledged is lost or doubled, nothing that was refused is there; replay equals state."""
        assert_replay_equals_tasks(sql)
        actions = defaultdict(list)
        titles: dict[str, list[str]] = defaultdict(list)
        for task_id, action, title in sql.rows(
            "SELECT task_id::text, action_type, snapshot ->> 'title' FROM task_history ORDER BY task_id, version"
        ):
            actions[task_id].append(action)
            if action == "CREATED":
                titles[title].append(task_id)
        for story in self._stories:
            # Where the answer to the creation was lost, the title tells which task it would be.
            ids = titles.pop(story.title, [])
            assert len(ids) <= 1, f"created twice: {story}"
            assert not story.task_id or ids == [story.task_id], f"lost: {story}"
            found = actions[ids[0]] if ids else []
            assert story.told_by(found), f"{story}, but the history has {found}"
        assert not titles, f"nobody asked for {titles}"
        written = {request_id for (request_id,) in sql.rows("SELECT request_id FROM task_history")}
        assert not written & self._not_written, "these requests have written, and were told the contrary"


def _request(client: Client, story: Story, action: str) -> Answer:
    path, key = f"/tasks/{story.task_id}", story.key
    if action == "CREATED":
        return client.create(story.title, key=key)
    if action == "UPDATED":
        return client.request("PUT", path, {"description": f"change {len(story.acknowledged)}"}, key=key)
    if action == "DELETED":
        return client.request("DELETE", path, key=key)
    return client.request("PATCH", f"{path}/{'complete' if action == 'COMPLETED' else 'incomplete'}", key=key)
