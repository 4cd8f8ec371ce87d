// Lists in memory stay like the database, in whatever order changes and answers come.
import { QueryClient } from "@tanstack/react-query";
import { describe, expect, test, vi } from "vitest";
import type { Task } from "../api/client";
import type { Filters } from "../tasks/filters";
import { Changes, withChanges, type Known, type TaskPage, type TaskPages } from "./changes";

const OPEN: Filters = { is_completed: false, text: "", from: "", to: "" };
const KEY = ["tasks", "list", OPEN];

/** An open task, created in this second: greater ones are newer, and stand before it. */
function task(id: string, second: string, more: Partial<Task> = {}): Task {
  const created_at = `2026-11-26T10:30:${second}Z`;
  return {
    id,
    title: `title of ${id}`,
    description: null,
    is_completed: false,
    created_at,
    updated_at: created_at,
    completed_at: null,
    ...more,
  };
}

const pagesOf = (...pages: TaskPage[]): TaskPages => ({ pages, pageParams: pages.map(() => null) });
const listOf = (...tasks: Task[]) => pagesOf({ tasks, next: null });
const idsOf = (data: TaskPages | undefined) =>
  data?.pages.map(({ tasks }) => tasks.map(({ id }) => id).join("")).join("|");
const of = (task: Task, version = 2): Known => ({ task_id: task.id, version, task });
const deleted = (task_id: string, version = 2): Known => ({ task_id, version, task: null });

describe("withChanges", () => {
  const list = listOf(task("a", "40"), task("c", "20"), task("e", "10"));

  test.each([
    ["50", "xace"],
    ["30", "axce"],
    ["15", "acxe"],
    ["05", "acex"],
    ["40.000001", "xace"],
    ["39.999999", "axce"],
  ])("a new task of second %s comes where the service lists it", (second, ids) => {
    expect(idsOf(withChanges(list, OPEN, [of(task("x", second))]))).toBe(ids);
  });

  test("of the same time, the smaller id comes first", () => {
    expect(idsOf(withChanges(list, OPEN, [of(task("b", "20")), of(task("d", "20"))]))).toBe("abcde");
  });

  test("a changed task is replaced in its place, and the others stay the same objects", () => {
    const changed = task("c", "20", { title: "new", updated_at: "2026-11-26T11:00:00Z" });
    const { pages } = withChanges(list, OPEN, [of(changed)]);
    expect(pages[0]?.tasks).toEqual([task("a", "40"), changed, task("e", "10")]);
    expect(pages[0]?.tasks[0]).toBe(list.pages[0]?.tasks[0]);
  });

  test("a task that is gone, or that the filters do not show any more, is removed", () => {
    expect(idsOf(withChanges(list, OPEN, [deleted("c")]))).toBe("ae");
    const completed = { is_completed: true, updated_at: "2026-11-26T11:00:00Z" };
    expect(idsOf(withChanges(list, OPEN, [of(task("a", "40", completed))]))).toBe("ce");
    const filters = { ...OPEN, text: "TITLE OF" };
    const renamed = { title: "other", updated_at: "2026-11-26T11:00:00Z" };
    expect(idsOf(withChanges(list, filters, [of(task("e", "10", renamed))]))).toBe("ac");
  });

  test("a task that the filters do not show is not inserted, and the list stays the same object", () => {
    const others = [of(task("x", "30", { is_completed: true })), deleted("y")];
    expect(withChanges(list, OPEN, others)).toBe(list);
  });

  test.each([
    ["29", "29.5"],
    ["29.5", "29.500001"],
    ["29.999999", "30"],
  ])("a task of second %s does not take the place of one of second %s", (earlier, later) => {
    const [old, now] = [earlier, later].map((second) =>
      task("c", "20", { title: second, updated_at: `2026-11-26T10:30:${second}Z` }),
    ) as [Task, Task];
    expect(withChanges(listOf(now), OPEN, [of(old)]).pages[0]?.tasks).toEqual([now]);
    expect(withChanges(listOf(old), OPEN, [of(now)]).pages[0]?.tasks).toEqual([now]);
  });

  test("changes count in their order", () => {
    const back = task("c", "20", { updated_at: "2026-11-26T11:00:00Z" });
    expect(idsOf(withChanges(list, OPEN, [deleted("c"), of(back)]))).toBe("ace");
    expect(idsOf(withChanges(list, OPEN, [of(back), deleted("c")]))).toBe("ae");
  });

  test("in pages, a task comes into the page where it belongs; behind the last one only where the list ends", () => {
    const first = { tasks: [task("a", "50"), task("b", "40")], next: "…" };
    const unfinished = pagesOf(first, { tasks: [task("d", "20")], next: "…" });
    const finished = pagesOf(first, { tasks: [task("d", "20")], next: null });
    for (const list of [unfinished, finished]) {
      expect(idsOf(withChanges(list, OPEN, [of(task("x", "45"))]))).toBe("axb|d");
      expect(idsOf(withChanges(list, OPEN, [of(task("x", "30"))]))).toBe("ab|xd");
    }
    expect(withChanges(unfinished, OPEN, [of(task("x", "10"))])).toBe(unfinished);
    expect(idsOf(withChanges(finished, OPEN, [of(task("x", "10"))]))).toBe("ab|dx");
    expect(idsOf(withChanges(listOf(), OPEN, [of(task("x", "10"))]))).toBe("x");
  });
});

describe("Changes", () => {
  function setUp() {
    const client = new QueryClient();
    const answers: ((page: TaskPage) => void)[] = [];
    return {
      client,
      changes: new Changes(client),
      /** Begins to fetch the list; `answer` ends it. */
      fetch: () =>
        client.infiniteQuery({
          queryKey: KEY,
          initialPageParam: null as string | null,
          queryFn: () => new Promise<TaskPage>((resolve) => answers.push(resolve)),
          getNextPageParam: (page) => page.next,
        }),
      answer: async (...tasks: Task[]) => {
        await vi.waitUntil(() => answers.length > 0);
        answers.shift()?.({ tasks, next: null });
      },
      ids: () => idsOf(client.getQueryData<TaskPages>(KEY)),
    };
  }

  test("a change that comes while a list is fetched is not lost", async () => {
    const { changes, fetch, answer, ids } = setUp();
    const fetched = fetch();
    changes.learn([of(task("b", "20"), 1), deleted("c")]);
    // The service has read the list before those changes.
    await answer(task("a", "10"), task("c", "05"));
    await fetched;
    await vi.waitUntil(() => ids() === "ba");
  });

  test("nor does it undo what a newer answer has", async () => {
    const { client, changes, fetch, answer } = setUp();
    const fetched = fetch();
    changes.learn([of(task("a", "10", { title: "old", updated_at: "2026-11-26T11:00:29Z" }))]);
    const now = task("a", "10", { title: "new", updated_at: "2026-11-26T11:00:29.5Z" });
    await answer(now);
    await fetched;
    await Promise.resolve();
    expect(client.getQueryData<TaskPages>(KEY)?.pages[0]?.tasks).toEqual([now]);
  });

  test("each list takes what its filters show", () => {
    const { client, changes } = setUp();
    const done = { ...OPEN, is_completed: true };
    client.setQueryData(KEY, listOf(task("a", "10")));
    client.setQueryData(["tasks", "list", done], listOf());
    changes.learn([of(task("a", "10", { is_completed: true, updated_at: "2026-11-26T11:00:00Z" }))]);
    expect(idsOf(client.getQueryData(KEY))).toBe("");
    expect(idsOf(client.getQueryData(["tasks", "list", done]))).toBe("a");
  });

  test("a change that is known already does nothing, whichever way it comes", () => {
    const { client, changes, ids } = setUp();
    client.setQueryData(KEY, listOf());
    changes.learn([of(task("a", "10"), 1), deleted("a", 2)]);
    changes.learn([of(task("a", "10"), 1)]);
    changes.learn([of(task("a", "10"), 2)]);
    expect(ids()).toBe("");
    changes.learn([of(task("a", "10"), 3)]);
    expect(ids()).toBe("a");
  });

  test("a task that is held stays as it is until it is released by all", () => {
    const { client, changes, ids } = setUp();
    client.setQueryData(KEY, listOf(task("a", "10")));
    changes.hold("a");
    changes.hold("a");
    changes.learn([
      of(task("a", "10", { is_completed: true, updated_at: "2026-11-26T11:00:00Z" }), 2),
      deleted("a", 3),
    ]);
    changes.learn([of(task("b", "20"), 1)]);
    expect(ids()).toBe("ba");
    changes.release("a");
    expect(ids()).toBe("ba");
    changes.release("a");
    expect(ids()).toBe("b");
    changes.learn([of(task("a", "10"), 4)]);
    expect(ids()).toBe("ba");
  });

  test("a task that the service does not know is removed", () => {
    const { client, changes, ids } = setUp();
    client.setQueryData(KEY, listOf(task("b", "20"), task("a", "10")));
    changes.missing("a");
    expect(ids()).toBe("b");
  });

  test("after forget, versions begin anew", () => {
    const { client, changes, ids } = setUp();
    client.setQueryData(KEY, listOf());
    changes.learn([deleted("a", 9)]);
    changes.forget();
    changes.learn([of(task("a", "10"), 1)]);
    expect(ids()).toBe("a");
  });

  test("what the service counts and lists is asked for again, once for many changes", () => {
    vi.useFakeTimers();
    try {
      const { client, changes } = setUp();
      const invalidate = vi.spyOn(client, "invalidateQueries").mockResolvedValue();
      for (const second of ["10", "11", "12"]) changes.learn([of(task(second, second), 1)]);
      vi.advanceTimersByTime(1000);
      expect(invalidate.mock.calls.map(([filters]) => filters?.queryKey)).toEqual([
        ["tasks", "count"],
        ["history"],
        ["statistics"],
      ]);
    } finally {
      vi.useRealTimers();
    }
  });
});
