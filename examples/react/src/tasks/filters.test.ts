// The same tasks in the address, in the request and in the page.
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { Task } from "../api/client";
import { filtersOf, matches, queryOf, type Filters } from "./filters";

beforeAll(() => vi.stubEnv("TZ", "Europe/Berlin"));
afterAll(() => vi.unstubAllEnvs());

const OPEN: Filters = { is_completed: false, text: "", from: "", to: "" };

const task = (more: Partial<Task> = {}): Task => ({
  id: "22c5e856-3170-447a-a9d0-6faa974dd44e",
  title: "Buy milk",
  description: null,
  is_completed: false,
  created_at: "2026-11-26T10:30:00.123456Z",
  updated_at: "2026-11-26T10:30:00.123456Z",
  completed_at: null,
  ...more,
});

describe("the address", () => {
  test("without parameters: all open tasks", () => {
    expect(filtersOf(new URLSearchParams())).toEqual(OPEN);
    expect(queryOf(OPEN)).toEqual({ is_completed: false });
  });

  test("with all of them", () => {
    const filters = filtersOf(new URLSearchParams("list=completed&text=milk&from=2026-11-01&to=2026-11-30"));
    expect(filters).toEqual({ is_completed: true, text: "milk", from: "2026-11-01", to: "2026-11-30" });
    expect(queryOf(filters)).toEqual({
      is_completed: true,
      text: "milk",
      created_from: "2026-10-31T23:00:00.000Z",
      created_before: "2026-11-30T23:00:00.000Z",
    });
  });

  test("what the API would refuse is left out", () => {
    const odd = filtersOf(
      new URLSearchParams({ list: "x", text: "é".repeat(300), from: "yesterday", to: "2026-13-01" }),
    );
    expect(odd).toEqual({ ...OPEN, text: "é".repeat(200) });
    expect(queryOf({ ...OPEN, text: "   " })).toEqual({ is_completed: false });
  });
});

test("a day with a clock change has 25 hours", () => {
  const { created_from, created_before } = queryOf({ ...OPEN, from: "2026-10-25", to: "2026-10-25" });
  expect(created_from).toBe("2026-10-24T22:00:00.000Z");
  expect(created_before).toBe("2026-10-25T23:00:00.000Z");
});

describe("the page shows the tasks that the service lists", () => {
  test("by completion", () => {
    expect(matches(OPEN, task())).toBe(true);
    expect(matches(OPEN, task({ is_completed: true }))).toBe(false);
    expect(matches({ ...OPEN, is_completed: true }, task({ is_completed: true }))).toBe(true);
  });

  test.each([
    ["MILK", true],
    ["y m", true],
    ["brot", false],
    ["käse", true],
    ["%", false],
    [" ", true],
  ])("by the text %j", (text, isShown) => {
    expect(matches({ ...OPEN, text }, task({ description: "or KÄSE" }))).toBe(isShown);
  });

  test.each([
    ["2026-11-25T22:59:59.999999Z", false],
    ["2026-11-25T23:00:00Z", true],
    ["2026-11-26T22:59:59.999999Z", true],
    ["2026-11-26T23:00:00Z", false],
  ])("by the local day of creation: %s", (created_at, isShown) => {
    expect(matches({ ...OPEN, from: "2026-11-26", to: "2026-11-26" }, task({ created_at }))).toBe(isShown);
  });
});
