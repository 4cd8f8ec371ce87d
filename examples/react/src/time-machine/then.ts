// Asks the API what the list was like at a moment, and when it changed.
import { keepPreviousData, useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { api, ask, nextCursor, type HistoryEntry } from "../api/client";
import { started } from "../live/live";
import { TIME_ZONE } from "../ui/times";
import { momentAfter, textOf, type Moment } from "./moments";

// Keys begin with "history", so that each change asks again: one may still arrive for a moment that has just passed.
const asOf = (at: Moment) => (at === null ? {} : { as_of: textOf(at) });

/** While it plays, each frame is kept this long: to look at it again asks for nothing. */
const KEPT = 60_000;

/** The moment of the first change; null where there was none yet. */
export function useFirst() {
  return useQuery({
    queryKey: ["history", "first"],
    queryFn: async ({ signal }) => {
      await started;
      const { answer } = await ask(api.GET("/api/v1/changes", { params: { query: { limit: 1 } }, signal }));
      const first = answer.data.items[0];
      return first ? momentAfter(first.timestamp) : null;
    },
  });
}

/** The tasks as they were, page by page. */
export function useTasksThen(at: Moment) {
  return useInfiniteQuery({
    queryKey: ["history", "then", at, "tasks"],
    queryFn: async ({ pageParam, signal }) => {
      await started;
      const query = { limit: 50, ...asOf(at), ...(pageParam !== null && { cursor: pageParam }) };
      const { answer, response } = await ask(api.GET("/api/v1/tasks", { params: { query }, signal }));
      return { tasks: answer.data, next: nextCursor(response) };
    },
    initialPageParam: null as string | null,
    getNextPageParam: (page) => page.next,
    placeholderData: keepPreviousData,
    gcTime: KEPT,
  });
}

/** How many tasks there were. */
export function useFiguresThen(at: Moment) {
  return useQuery({
    queryKey: ["history", "then", at, "figures"],
    queryFn: async ({ signal }) => {
      await started;
      const query = { tz: TIME_ZONE, ...asOf(at) };
      const { answer } = await ask(api.GET("/api/v1/stats/weekly", { params: { query }, signal }));
      return { open: answer.data.total_incomplete, completed: answer.data.total_completed };
    },
    placeholderData: keepPreviousData,
    gcTime: KEPT,
  });
}

/** The last change before this moment. */
export async function changeBefore(at: Moment): Promise<HistoryEntry | undefined> {
  const query = { limit: 1, ...(at !== null && { before: textOf(at - 1) }) };
  const { answer } = await ask(api.GET("/api/v1/history", { params: { query } }));
  return answer.data.items[0];
}

/** The first change after this moment. */
export async function changeAfter(at: number): Promise<HistoryEntry | undefined> {
  const later = { limit: 1, from: textOf(at) };
  const { answer } = await ask(api.GET("/api/v1/history", { params: { query: later } }));
  const count = answer.data.pagination.total_count;
  if (count <= 1) return answer.data.items[0];
  // The newest come first, so the next one is the last of them.
  const last = await ask(api.GET("/api/v1/history", { params: { query: { ...later, page: count } } }));
  return last.answer.data.items[0];
}
