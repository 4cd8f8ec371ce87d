// What the page has read, and the changes that keep it true.
import { QueryClient } from "@tanstack/react-query";
import { ApiError } from "../api/client";
import { session } from "../session/session";
import { Changes } from "./changes";

export const queryClient = new QueryClient({
  defaultOptions: {
    queries: {
      // The stream says when something is out of date, so nothing is asked for again just in case.
      staleTime: Infinity,
      refetchOnWindowFocus: false,
      refetchOnReconnect: false,
      // A refusal is final; a service that does not answer is asked until it does.
      networkMode: "always",
      retry: (_, error) => !(error instanceof ApiError),
      retryDelay: (failures) => Math.min(250 * 2 ** failures, 4000),
    },
    mutations: { networkMode: "always" },
  },
});

export const changes = new Changes(queryClient);

session.onOther(() => {
  queryClient.clear();
  changes.forget();
});
