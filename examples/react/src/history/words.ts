// What entries, undos and conflicts say to people.
import type { ActionType, HistoryEntry, Undone } from "../api/client";

export const ACTION_NAMES: Record<ActionType, string> = {
  CREATED: "Created",
  UPDATED: "Changed",
  COMPLETED: "Completed",
  INCOMPLETED: "Reopened",
  DELETED: "Deleted",
  RESTORED: "Restored",
};

export const whoIs = (actor: string | null) => actor ?? "somebody";

export const plural = (number: number, one: string, many: string) =>
  `${number.toLocaleString()} ${number === 1 ? one : many}`;

/** Whether an entry is an undo, which its description begins with. */
export const isUndo = ({ description }: HistoryEntry) => description.startsWith("undo: ");

/** The parts of `ann renamed Milk to Oat milk`. `details` tells the rest, where the sentence does not. */
export function tell(entry: HistoryEntry): { who: string; did: string; from?: string; details?: string } {
  const who = whoIs(entry.actor);
  const text = entry.description.replace(/^undo: /, "");
  if (entry.action_type !== "UPDATED") return { who, did: ACTION_NAMES[entry.action_type].toLowerCase() };
  if (text.startsWith("description: ")) return { who, did: "changed the description of" };
  const from = oldTitle(text, entry.task_title);
  return from === null ? { who, did: "changed", details: text } : { who, did: "renamed", from };
}

/** What an undo does to a task, in sentences. `from` is the title that it has until then. */
export function effectsOf({ description, task }: Undone["changes"][number]): { text: string; from?: string }[] {
  let text = description.replace(/^undo: /, "");
  if (task === null) return [{ text: "The task will be deleted." }];
  if (!text.includes(" -> ")) return [{ text: "The task will be there again." }];

  const effects: ReturnType<typeof effectsOf> = [];
  for (const [change, says] of COMPLETIONS) {
    const end = `'${task.title}': is_completed: ${change}`;
    if (!text.endsWith(end)) continue;
    effects.push({ text: says });
    text = text.slice(0, -end.length).replace(/; $/, "");
  }
  const from = oldTitle(text, task.title);
  if (from !== null) return [{ text: "Title:", from }, ...effects];
  // What is not known here is told as the API tells it.
  return text === "" ? effects : [{ text }, ...effects];
}

const COMPLETIONS = [
  ["true -> false", "It will be open again."],
  ["false -> true", "It will be completed again."],
] as const;

/** The title before a change of nothing but the title: `title: 'Milk' -> 'Oat milk'`. Else null. */
function oldTitle(text: string, title: string): string | null {
  const [begin, end] = ["title: '", `' -> '${title}'`];
  if (!text.startsWith(begin) || !text.endsWith(end)) return null;
  const old = text.slice(begin.length, -end.length);
  return old.includes("' -> ") ? null : old;
}

/** What somebody has done later: `changed the title`. */
export function conflictOf(field: string): string {
  const done: Record<string, string> = {
    title: "changed the title",
    description: "changed the description",
    is_completed: "completed or reopened the task",
    task: "changed or deleted the task",
  };
  return done[field] ?? `changed ${field}`;
}
