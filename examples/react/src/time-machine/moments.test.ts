// Tests the moments of the time machine.
import { expect, test } from "vitest";
import type { Task } from "../api/client";
import { momentAfter, momentAt, momentOf, newsOf, positionOf, within } from "./moments";

const life = { first: 1_000, now: 11_000 };

test("the slider goes from the first change to now", () => {
  expect(momentAt(0, life)).toBe(1_000);
  expect(momentAt(500, life)).toBe(6_000);
  expect(momentAt(1000, life)).toBeNull();
  expect([1_000, 6_000, null].map((at) => positionOf(at, life))).toEqual([0, 500, 1000]);
});

test("a list that was begun just now has a slider, too", () => {
  expect(positionOf(5, { first: 5, now: 5 })).toBe(0);
});

test("a moment stays within the life of the list", () => {
  expect([0, 5_000, 11_000, 99_000, null].map((at) => within(life, at))).toEqual([1_000, 5_000, null, null, null]);
});

test("an address without a time means now", () => {
  expect([null, "", "yesterday", "2026-02-31T25:00Z"].map(momentOf)).toEqual([null, null, null, null]);
  expect(momentOf("2026-11-20T10:00:00.000Z")).toBe(Date.UTC(2026, 10, 20, 10));
  expect(momentOf("2026-11-20T11:00:00+01:00")).toBe(Date.UTC(2026, 10, 20, 10));
});

test("at its moment, a change of some microseconds later is there", () => {
  expect(momentAfter("2026-11-20T10:00:00.123456Z")).toBe(Date.UTC(2026, 10, 20, 10, 0, 0, 124));
});

test("what is new of a task is told by its times", () => {
  const task = (created: number, updated: number, completed: number | null) =>
    ({
      created_at: new Date(created).toISOString(),
      updated_at: new Date(updated).toISOString(),
      completed_at: completed === null ? null : new Date(completed).toISOString(),
    }) as Task;
  expect(newsOf(task(500, 500, null), 500)).toBe("New");
  expect(newsOf(task(100, 600, 600), 500)).toBe("Completed");
  expect(newsOf(task(100, 600, 200), 500)).toBe("Changed");
  expect(newsOf(task(100, 400, 200), 500)).toBeNull();
});
