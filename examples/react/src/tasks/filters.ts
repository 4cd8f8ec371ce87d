// Which tasks a list shows: in the address, in the request to the API, and in the page.
import type { Task } from "../api/client";
import { dateOr, midnight } from "../ui/times";

export interface Filters {
  is_completed: boolean;
  /** Somewhere in title or description. Empty: any. */
  text: string;
  /** Local dates (YYYY-MM-DD), both inclusive. Empty: any. */
  from: string;
  to: string;
}

/** From the address: `?list=completed&text=milk&from=2026-11-01&to=2026-11-30`. */
export function filtersOf(search: URLSearchParams): Filters {
  return {
    is_completed: search.get("list") === "completed",
    text: Array.from(search.get("text") ?? "")
      .slice(0, 200)
      .join(""),
    from: dateOr(search.get("from")),
    to: dateOr(search.get("to")),
  };
}

/** The parameters of `GET /tasks`. The dates are those of creation. */
export function queryOf(filters: Filters) {
  const { from, before } = timesOf(filters);
  return {
    is_completed: filters.is_completed,
    ...(filters.text.trim() !== "" && { text: filters.text }),
    ...(from && { created_from: from.toISOString() }),
    ...(before && { created_before: before.toISOString() }),
  };
}

/** Whether the service would list this task, as far as a page can tell: its rules for letters may differ in some scripts. */
export function matches(filters: Filters, task: Task): boolean {
  const { from, before } = timesOf(filters);
  const created = new Date(task.created_at);
  const text = filters.text.toLowerCase();
  return (
    task.is_completed === filters.is_completed &&
    (!from || created >= from) &&
    (!before || created < before) &&
    (text.trim() === "" || `${task.title}\n${task.description ?? ""}`.toLowerCase().includes(text))
  );
}

function timesOf({ from, to }: Filters): { from: Date | null; before: Date | null } {
  return { from: from === "" ? null : midnight(from), before: to === "" ? null : midnight(to, 1) };
}
