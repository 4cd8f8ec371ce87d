// Whether filters survive the address, and what the API is asked.
import { expect, test } from "vitest";
import { addressOf, filtersOf, NO_FILTERS, queryOf } from "./filters";

test("an address has the filters, and only those that are set", () => {
  const filters = { ...NO_FILTERS, actor: "agent 7&co", from: "2026-11-01" };
  const address = addressOf(filters);
  expect(address).toBe("/history?actor=agent+7%26co&from=2026-11-01");
  expect(filtersOf(new URL(address, "http://x").searchParams)).toEqual(filters);
  expect(addressOf(NO_FILTERS)).toBe("/history");
});

test("what is no date counts as none", () => {
  expect(filtersOf(new URLSearchParams("from=soon&to=2026-13-01"))).toEqual(NO_FILTERS);
});

test("both days are in the period, from local midnight to local midnight", () => {
  expect(queryOf({ ...NO_FILTERS, from: "2026-11-01", to: "2026-11-01" })).toEqual({
    from: new Date(2026, 10, 1).toISOString(),
    before: new Date(2026, 10, 2).toISOString(),
  });
  expect(queryOf(NO_FILTERS)).toEqual({});
});
