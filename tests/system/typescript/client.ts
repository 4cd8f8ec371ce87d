// Uses every operation with the types that openapi-typescript makes of the document. Prints each one's name.
import createClient from "openapi-fetch";
import type { components, operations, paths } from "./api.js";

declare const process: { argv: string[] };

type Schemas = components["schemas"];
type Task = Schemas["Task"];

const address = process.argv[2]!;
const api = createClient<paths>({ baseUrl: address });

// A frontend's dialogs: one for each code, and the compiler says where one is missing.
const dialogs: Record<Schemas["Popup"], string> = {
  TASK_CREATED: "The task is there.",
  TASK_UPDATED: "The task is changed.",
  TASK_COMPLETED: "Done!",
  TASK_INCOMPLETE: "The task is open again.",
  TASK_DELETED: "The task is gone.",
};
const past: Record<Schemas["ActionType"], string> = {
  CREATED: "created",
  UPDATED: "changed",
  COMPLETED: "completed",
  INCOMPLETED: "reopened",
  DELETED: "deleted",
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
  list_history: async () => {
    const query = { task_id: task.id, limit: 2 };
    const { items, pagination } = done(await api.GET("/api/v1/history", { params: { query } })).data;
    expect(items.map((entry) => past[entry.action_type]).join(), "deleted,reopened");
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
