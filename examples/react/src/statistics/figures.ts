// Asks the API for the figures.
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { api, ask } from "../api/client";
import { started } from "../live/live";
import { TIME_ZONE } from "../ui/times";
import { addDays, WEEKS } from "./weeks";

/** How many tasks there are now. */
export function useTotals() {
  return useQuery({
    queryKey: ["statistics", "totals"],
    queryFn: async ({ signal }) => {
      await started;
      const { answer } = await ask(api.GET("/api/v1/stats/weekly", { params: { query: { tz: TIME_ZONE } }, signal }));
      return answer.data;
    },
  });
}

/** What was created and completed on each day of the weeks that end with this one. */
export function useDays(week: string) {
  return useQuery({
    queryKey: ["statistics", "days", week],
    queryFn: async ({ signal }) => {
      await started;
      const query = { from: addDays(week, -7 * (WEEKS - 1)), before: addDays(week, 7), tz: TIME_ZONE };
      const { answer } = await ask(api.GET("/api/v1/stats/daily", { params: { query }, signal }));
      return answer.data.days;
    },
    placeholderData: keepPreviousData,
  });
}
