// Moments in the life of the list: where they are on the slider and in the address, and what was new then.
import type { HistoryEntry, Task } from "../api/client";
import { ACTION_NAMES } from "../history/words";

/** Milliseconds since 1970; null is now, whatever the clock of this device says. */
export type Moment = number | null;

/** From the first change to now. */
export interface Life {
  first: number;
  now: number;
}

/** How many steps the slider has: an arrow key moves by one of them. */
export const POSITIONS = 1000;

export function positionOf(at: Moment, { first, now }: Life): number {
  if (at === null) return POSITIONS;
  return Math.round(((at - first) / Math.max(now - first, 1)) * POSITIONS);
}

export function momentAt(position: number, { first, now }: Life): Moment {
  return position >= POSITIONS ? null : Math.round(first + (position / POSITIONS) * (now - first));
}

/** The nearest moment that the list has lived through. */
export function within({ first, now }: Life, at: Moment): Moment {
  return at === null || at >= now ? null : Math.max(at, first);
}

/** What `at` says in the address. What is no time means now. */
export function momentOf(text: string | null): Moment {
  const at = Date.parse(text ?? "");
  return Number.isNaN(at) ? null : at;
}

export const textOf = (at: number) => new Date(at).toISOString();

/** The first whole millisecond at which a change is there: the API's times are finer than ours. */
export const momentAfter = (timestamp: string) => Date.parse(timestamp) + 1;

export type News = "New" | "Completed" | "Changed";

/** What has happened to a task since. */
export function newsOf(task: Task, since: number): News | null {
  const isSince = (time: string | null) => time !== null && Date.parse(time) >= since;
  if (isSince(task.created_at)) return "New";
  if (isSince(task.completed_at)) return "Completed";
  return isSince(task.updated_at) ? "Changed" : null;
}

/** `Deleted: Buy milk`. */
export const textOfChange = (entry: HistoryEntry) => `${ACTION_NAMES[entry.action_type]}: ${entry.task_title}`;
