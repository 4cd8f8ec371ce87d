// Which entries the history shows: in the address, and in the request to the API.
import type { ActionType } from "../api/client";
import { dateOr, midnight } from "../ui/times";

/** Each is empty where anything will do. */
export interface Filters {
  task_id: string;
  action_type: string;
  actor: string;
  change_set: string;
  /** Local dates (YYYY-MM-DD), both inclusive. */
  from: string;
  to: string;
}

const LONGEST = 256;

export const NO_FILTERS: Filters = { task_id: "", action_type: "", actor: "", change_set: "", from: "", to: "" };

/** From the address: `?actor=agent-7&from=2026-11-01&to=2026-11-30`. What is no date counts as none. */
export function filtersOf(search: URLSearchParams): Filters {
  // Longer ones are never right, and make an address that a server may refuse without a sentence.
  const text = (name: keyof Filters) => (search.get(name) ?? "").slice(0, LONGEST);
  return {
    task_id: text("task_id"),
    action_type: text("action_type"),
    actor: text("actor"),
    change_set: text("change_set"),
    from: dateOr(search.get("from")),
    to: dateOr(search.get("to")),
  };
}

/** The address that has these filters. */
export function addressOf(filters: Partial<Filters>): string {
  const set = Object.entries(filters).filter(([, value]) => value !== "");
  return set.length === 0 ? "/history" : `/history?${new URLSearchParams(set).toString()}`;
}

/** The parameters of `GET /history`. */
export function queryOf({ task_id, action_type, actor, change_set, from, to }: Filters) {
  return {
    ...(task_id !== "" && { task_id }),
    // The address may have any text here: the API says which there are.
    ...(action_type !== "" && { action_type: action_type as ActionType }),
    ...(actor !== "" && { actor }),
    ...(change_set !== "" && { change_set }),
    ...(from !== "" && { from: midnight(from).toISOString() }),
    ...(to !== "" && { before: midnight(to, 1).toISOString() }),
  };
}
