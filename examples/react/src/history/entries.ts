// Reads the history: pages of entries, the versions of a task, and the last title of a task.
import { keepPreviousData, useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { api, ask, nextCursor } from "../api/client";
import { started } from "../live/live";
import { queryOf, type Filters } from "./filters";

export function useEntries(filters: Filters) {
  return useInfiniteQuery({
    queryKey: ["history", "list", filters],
    queryFn: async ({ pageParam: cursor, signal }) => {
      await started;
      const query = { ...queryOf(filters), limit: 50, ...(cursor !== null && { cursor }) };
      const { answer, response } = await ask(api.GET("/api/v1/history", { params: { query }, signal }));
      return { entries: answer.data.items, total: answer.data.pagination.total_count, next: nextCursor(response) };
    },
    initialPageParam: null as string | null,
    getNextPageParam: ({ next }) => next,
    placeholderData: keepPreviousData,
  });
}

export type Entries = ReturnType<typeof useEntries>;

/** The title of a task, also of a deleted one; null where it has no history. */
export function useTitle(task_id: string) {
  return useQuery({
    queryKey: ["history", "title", task_id],
    queryFn: async ({ signal }) => {
      await started;
      const { answer } = await ask(api.GET("/api/v1/history", { params: { query: { task_id, limit: 1 } }, signal }));
      return answer.data.items[0]?.task_title ?? null;
    },
  });
}

/** The task before the change that made this version, and after it. Null: it was not there. */
export function useBeforeAndAfter(task_id: string, version: number) {
  return useQuery({
    // What has happened does not change.
    queryKey: ["versions", task_id, version],
    queryFn: async ({ signal }) => {
      const params = { path: { task_id }, query: { after: Math.max(version - 2, 0), limit: 2 } };
      const { answer } = await ask(api.GET("/api/v1/tasks/{task_id}/versions", { params, signal }));
      const taskAt = (wanted: number) => answer.data.items.find((item) => item.version === wanted)?.task ?? null;
      return { before: taskAt(version - 1), after: taskAt(version) };
    },
  });
}
