// Takes changes back: first as a preview, which writes nothing, then for good.
import { api, ask, nextCursor, type Undo, type Undone } from "../api/client";
import { write } from "../api/write";

/** The changes to take back: one of a task, a run, or what somebody did in a period. */
export type Chosen =
  { task_id: string; version: number } | { change_set: string } | { actor: string; since: string; until?: string };

export interface Preview {
  /** What to ask for, so that the undo is that of the preview. */
  chosen: Chosen;
  /** How many changes are chosen. */
  count: number;
  undone: Undone;
  /** Those of all tasks that will be deleted, or stay as they are. */
  titles: Map<string, string>;
}

/** What an undo would do. */
export async function previewUndo(chosen: Chosen, signal: AbortSignal): Promise<Preview> {
  if ("task_id" in chosen) return { chosen, count: 1, undone: await dryRun(chosen, signal), titles: new Map() };

  const titles = new Map<string, string>();
  const query =
    "actor" in chosen
      ? { actor: chosen.actor, from: chosen.since, ...(chosen.until !== undefined && { before: chosen.until }) }
      : { change_set: chosen.change_set };
  const read = async (cursor: string | null) => {
    const params = { query: { ...query, limit: 100, ...(cursor !== null && { cursor }) } };
    const { answer, response } = await ask(api.GET("/api/v1/history", { params, signal }));
    for (const { task_id, task_title } of answer.data.items) {
      if (!titles.has(task_id)) titles.set(task_id, task_title);
    }
    return { newest: answer.data.items[0], count: answer.data.pagination.total_count, next: nextCursor(response) };
  };
  const { newest, count, next } = await read(null);
  if (!newest) return { chosen, count: 0, undone: { changes: [], conflicts: [] }, titles };
  // What they do after the preview is not undone unseen. "Now" is told by the service's clock, not by ours.
  const fixed = "actor" in chosen ? { ...chosen, until: justAfter(newest.timestamp) } : chosen;
  const undone = await dryRun(fixed, signal);
  const nameless = [...undone.changes.filter(({ task }) => task === null), ...undone.conflicts];
  let cursor = next;
  while (cursor !== null && nameless.some(({ task_id }) => !titles.has(task_id))) cursor = (await read(cursor)).next;
  return { chosen: fixed, count, undone, titles };
}

/** Undoes it, and answers what was done. Throws ApiError with status 409 where others have changed it since. */
export async function undo(chosen: Chosen, skip_conflicts: boolean): Promise<Undone> {
  const body: Undo = { ...chosen, skip_conflicts };
  const { answer } = await write((attempt) => api.POST("/api/v1/undo", { body, ...attempt }));
  return answer.data;
}

async function dryRun(chosen: Chosen, signal: AbortSignal): Promise<Undone> {
  // Without skip_conflicts, a conflict is a 409, also in a dry run.
  const body: Undo = { ...chosen, dry_run: true, skip_conflicts: true };
  const { answer } = await ask(api.POST("/api/v1/undo", { body, signal }));
  return answer.data;
}

/** A time that is later by less than two milliseconds: Date drops the microseconds. */
function justAfter(time: string): string {
  return new Date(Date.parse(time) + 1).toISOString();
}
