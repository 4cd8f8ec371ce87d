// Writes tasks. Each function returns once the API has answered, and throws what `write` throws.
import { api, versionOf, type Popup, type Task } from "../api/client";
import { write } from "../api/write";
import { changes } from "../live/memory";

export interface Written {
  task: Task;
  version: number;
  popup: Popup;
}

interface Answer {
  data: Task;
  popup: Popup;
}

function learned({ answer, response }: { answer: Answer; response: Response }): Written {
  const version = versionOf(response);
  changes.learn([{ task_id: answer.data.id, version, task: answer.data }]);
  return { task: answer.data, version, popup: answer.popup };
}

export async function createTask(title: string): Promise<Written> {
  return learned(
    await write(({ headers }) => api.POST("/api/v1/tasks", { body: { title }, params: { header: headers } })),
  );
}

export async function completeTask(task_id: string, is_completed: boolean): Promise<Written> {
  return learned(
    await write<Answer>(({ headers }) => {
      const init = { params: { path: { task_id }, header: headers } };
      return is_completed
        ? api.PATCH("/api/v1/tasks/{task_id}/complete", init)
        : api.PATCH("/api/v1/tasks/{task_id}/incomplete", init);
    }),
  );
}

/** Changes the task if it is still at this version; else the API refuses with 412. */
export async function updateTask(
  task_id: string,
  version: number,
  body: { title?: string; description?: string | null },
): Promise<Written> {
  return learned(
    await write(({ headers }) =>
      api.PUT("/api/v1/tasks/{task_id}", {
        body,
        params: { path: { task_id }, header: { ...headers, "If-Match": `"${version}"` } },
      }),
    ),
  );
}

/** Deletes the task. Returns the version of the deletion: `undoChange` takes it back. */
export async function deleteTask(task_id: string): Promise<number> {
  const { response } = await write(({ headers }) =>
    api.DELETE("/api/v1/tasks/{task_id}", { params: { path: { task_id }, header: headers } }),
  );
  const version = versionOf(response);
  changes.learn([{ task_id, version, task: null }]);
  return version;
}

/** Takes back the change that made this version. */
export async function undoChange(task_id: string, version: number): Promise<void> {
  const { answer, response } = await write(({ headers }) =>
    api.POST("/api/v1/tasks/{task_id}/undo", {
      body: { version },
      params: { path: { task_id }, header: headers },
    }),
  );
  changes.learn([{ task_id, version: versionOf(response), task: answer.data }]);
}

/** Brings a deleted task back as it was at the end. */
export async function restoreTask(task_id: string): Promise<Written> {
  return learned(
    await write(({ headers }) =>
      api.POST("/api/v1/tasks/{task_id}/restore", {
        body: {},
        params: { path: { task_id }, header: headers },
      }),
    ),
  );
}
