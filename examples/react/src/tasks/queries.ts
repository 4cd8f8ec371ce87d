// Reads the tasks: a list in pages, how many there are, and one with its version.
import { keepPreviousData, useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { api, ask, nextCursor, versionOf, type Task } from "../api/client";
import { started } from "../live/live";
import type { TaskPage } from "../live/changes";
import { queryClient } from "../live/memory";
import { queryOf, type Filters } from "./filters";

const PAGE = 200;

export function useTaskList(filters: Filters) {
  return useInfiniteQuery({
    queryKey: ["tasks", "list", filters],
    initialPageParam: null as string | null,
    placeholderData: keepPreviousData,
    queryFn: async ({ pageParam, signal }): Promise<TaskPage> => {
      await started;
      const query = { ...queryOf(filters), limit: PAGE, ...(pageParam !== null && { cursor: pageParam }) };
      const { answer, response } = await ask(api.GET("/api/v1/tasks", { params: { query }, signal }));
      return { tasks: answer.data, next: nextCursor(response) };
    },
    getNextPageParam: (page) => page.next,
  });
}

/** How many tasks match; undefined until it is known. */
export function useTaskCount(filters: Filters): number | undefined {
  return useQuery({
    queryKey: ["tasks", "count", filters],
    placeholderData: keepPreviousData,
    queryFn: async ({ signal }) => {
      await started;
      const query = { ...queryOf(filters), limit: 1, count: true };
      const { response } = await ask(api.GET("/api/v1/tasks", { params: { query }, signal }));
      return Number(response.headers.get("X-Total-Count"));
    },
  }).data;
}

/** The task as it is now, with its version. Throws ApiError 404 where it is gone; waits for a service that is down. */
export function readTask(task_id: string): Promise<{ task: Task; version: number }> {
  return queryClient.query({
    queryKey: ["tasks", "one", task_id],
    staleTime: 0,
    gcTime: 0,
    queryFn: async () => {
      const { answer, response } = await ask(api.GET("/api/v1/tasks/{task_id}", { params: { path: { task_id } } }));
      return { task: answer.data, version: versionOf(response) };
    },
  });
}
