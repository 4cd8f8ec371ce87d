// Uses every operation with the types that openapi-typescript makes of the document. Prints each one's name.
import createClient from "openapi-fetch";
import type { components, operations, paths } from "./api.js";

declare const process: { argv: string[] };

type Schemas = components["schemas"];
type Task = Schemas["Task"];

const address = process.argv[2]!;
// Of the two ways in which the changes come, the JSON one.
const api = createClient<paths, "application/json">({ baseUrl: address });

// A frontend's dialogs: one for each code, and the compiler says where one is missing.
const dialogs: Record<Schemas["Popup"], string> = {
  TASK_CREATED: "The task is there.",
  TASK_UPDATED: "The task is changed.",
  TASK_COMPLETED: "Done!",
  TASK_INCOMPLETE: "The task is open again.",
  TASK_DELETED: "The task is gone.",
  TASK_RESTORED: "It is as it was.",
};
const past: Record<Schemas["ActionType"], string> = {
  CREATED: "created",
  UPDATED: "changed",
  COMPLETED: "completed",
  INCOMPLETED: "reopened",
  DELETED: "deleted",
  RESTORED: "restored",
};

function expect<Value>(found: Value, wanted: Value): void {
  if (found !== wanted) throw new Error(`${JSON.stringify(found)} is not ${JSON.stringify(wanted)}`);
}

// openapi-fetch gives the envelope of a success as `data`, of a failure as `error`. Its types leave out what is null.
function done<Answer extends { success: true }>(result: { data?: Answer; error?: { error: string } }): Answer {
  if (result.data === undefined) throw new Error(result.error?.error ?? "there is no answer");
  return result.data;
}

// The two kinds of answers in one type, as a wrapper of fetch would have them: `success` tells them apart.
function titleOf(answer: Schemas["TaskAnswer"] | Schemas["Failure"]): string {
  return answer.success ? answer.data.title : answer.error;
}

// `popup` tells the writes apart.
function idOf(answer: Schemas["TaskCreatedAnswer"] | Schemas["TaskDeletedAnswer"]): string | null {
  return answer.popup === "TASK_CREATED" ? answer.data.id : answer.data;
}

let task: Task;
const path = () => ({ path: { task_id: task.id } });
const key = () => ({ header: { "Idempotency-Key": crypto.randomUUID() } });

const uses: Record<keyof operations, () => Promise<void>> = {
  create_task: async () => {
    const plain = done(await api.POST("/api/v1/tasks", { body: { title: "Buy milk" } }));
    expect(plain.data.description, null);
    const longest = { title: "🦀".repeat(255), description: "🦀".repeat(5000) };
    const created = done(await api.POST("/api/v1/tasks", { body: longest, params: key() }));
    expect(dialogs[created.popup], "The task is there.");
    expect(idOf({ error: null, ...created }), created.data.id);
    task = created.data;
  },
  list_tasks: async () => {
    const tasks: Task[] = done(await api.GET("/api/v1/tasks")).data;
    expect(tasks.some(({ id, title }) => id === task.id && title === task.title), true);
  },
  get_task: async () => {
    const found = done(await api.GET("/api/v1/tasks/{task_id}", { params: path() }));
    expect(titleOf({ success: true, popup: null, error: null, data: found.data }), task.title);
    const missing = { path: { task_id: crypto.randomUUID() } };
    const { error, response } = await api.GET("/api/v1/tasks/{task_id}", { params: missing });
    expect(response.status, 404);
    expect(error?.success, false);
    expect(error?.error, "There is no such task.");
  },
  update_task: async () => {
    const params = { ...path(), ...key() };
    const first = await api.PUT("/api/v1/tasks/{task_id}", { params, body: { description: null } });
    expect(dialogs[done(first).popup], "The task is changed.");
    const again = await api.PUT("/api/v1/tasks/{task_id}", { params, body: { description: null } });
    expect(again.response.headers.get("Idempotency-Replayed"), "true");
    expect(done(again).data.updated_at, done(first).data.updated_at);
  },
  complete_task: async () => {
    const completed = done(await api.PATCH("/api/v1/tasks/{task_id}/complete", { params: { ...path(), ...key() } }));
    expect(dialogs[completed.popup], "Done!");
    expect(new Date(completed.data.completed_at ?? "").getTime() > 0, true);
  },
  reopen_task: async () => {
    const reopened = done(await api.PATCH("/api/v1/tasks/{task_id}/incomplete", { params: path() }));
    expect(dialogs[reopened.popup], "The task is open again.");
    expect(reopened.data.completed_at, null);
  },
  delete_task: async () => {
    const deleted = done(await api.DELETE("/api/v1/tasks/{task_id}", { params: { ...path(), ...key() } }));
    expect(dialogs[deleted.popup], "The task is gone.");
  },
  undo_change: async () => {
    const body = { version: 5 };
    const undone = done(await api.POST("/api/v1/tasks/{task_id}/undo", { params: { ...path(), ...key() }, body }));
    expect(dialogs[undone.popup], "It is as it was.");
    expect(undone.data?.id, task.id);
    const stale = { ...path(), header: { "If-Match": '"1"' } };
    const { response } = await api.POST("/api/v1/tasks/{task_id}/undo", { params: stale, body });
    expect(response.status, 412);
    expect(response.headers.get("ETag"), '"6"');
  },
  restore_task: async () => {
    const restored = done(await api.POST("/api/v1/tasks/{task_id}/restore", { params: path(), body: { version: 1 } }));
    expect(restored.data.description, task.description);
  },
  undo_changes: async () => {
    const body = { task_id: task.id, version: 7, dry_run: true };
    const preview = done(await api.POST("/api/v1/undo", { body }));
    expect(preview.popup ?? null, null);
    expect(preview.data.changes.map((change) => change.version).join(), "8");
    expect(preview.data.conflicts.length, 0);
    done(await api.DELETE("/api/v1/tasks/{task_id}", { params: path() }));
  },
  list_changes: async () => {
    const page = done(await api.GET("/api/v1/changes", { params: { query: { limit: 1000 } } })).data;
    const after = { query: { after: page.cursor, wait: 0 } };
    expect(page.items.some((item) => item.task_id === task.id), true);
    expect(typeof done(await api.GET("/api/v1/changes", { params: after })).data.has_more, "boolean");
  },
  list_versions: async () => {
    const params = { ...path(), query: { limit: 2 } };
    const page = done(await api.GET("/api/v1/tasks/{task_id}/versions", { params })).data;
    expect(page.items.map((version) => past[version.action_type]).join(), "created,changed");
    expect(page.items[1]?.changes.description?.[0], task.description);
    expect(page.has_more, true);
  },
  daily_stats: async () => {
    const query = { from: "2026-11-01", before: "2026-11-03", tz: "Europe/Berlin" };
    const { days } = done(await api.GET("/api/v1/stats/daily", { params: { query } })).data;
    expect(days.map((day) => day.date).join(), "2026-11-01,2026-11-02");
  },
  write_tasks: async () => {
    const body = { create: [{ title: "One" }, { title: "Two", description: null }] };
    const created = done(await api.POST("/api/v1/tasks/bulk", { body, params: key() })).data ?? [];
    const [one, two] = created.map((each) => each!.id);
    const update = [{ id: one!, version: 1, title: "First" }, { id: two!, description: "new" }];
    const updated = done(await api.POST("/api/v1/tasks/bulk", { body: { update } }));
    expect(dialogs[updated.popup], "The task is changed.");
    expect(updated.data?.map((each) => each?.title).join(), "First,Two");
    const stale = await api.POST("/api/v1/tasks/bulk", { body: { complete: [one!, { id: two!, version: 1 }] } });
    expect(stale.response.status, 412);
    expect(done(await api.POST("/api/v1/tasks/bulk", { body: { delete: [one!, two!] } })).data, null);
  },
  list_history: async () => {
    const query = { task_id: task.id, limit: 2 };
    const { items, pagination } = done(await api.GET("/api/v1/history", { params: { query } })).data;
    expect(items.map((entry) => past[entry.action_type]).join(), "deleted,changed");
    expect(pagination.has_next, true);
    const created = { task_id: task.id, action_type: "CREATED" as const, offset: 0 };
    expect(done(await api.GET("/api/v1/history", { params: { query: created } })).data.pagination.total_count, 1);
    done(await api.GET("/api/v1/history"));
  },
  weekly_stats: async () => {
    const week = done(await api.GET("/api/v1/stats/weekly")).data;
    expect(week.total_completed + week.total_incomplete, week.total_tasks);
  },
  get_health: async () => expect(done(await api.GET("/api/v1/health")).data.status, "healthy"),
  get_readiness: async () => expect(done(await api.GET("/api/v1/health/ready")).data.status, "ready"),
};

for (const [name, use] of Object.entries(uses)) {
  await use();
  console.log(name);
}
