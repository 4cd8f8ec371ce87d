// Times and dates, in a zone with clock changes.
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";

// The module makes its formats when it is loaded.
vi.stubEnv("TZ", "Europe/Berlin");
const { dateOr, formatAge, isoDate, midnight } = await import("./times");

beforeAll(() => vi.stubEnv("TZ", "Europe/Berlin"));
afterAll(() => vi.unstubAllEnvs());

const at = (time: string) => new Date(time).getTime();

describe("formatAge", () => {
  const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });
  const now = at("2026-11-26T10:30:00Z");

  test.each([
    ["2026-11-26T10:30:00Z", "just now"],
    ["2026-11-26T10:29:20Z", "just now"],
    ["2026-11-26T10:31:00Z", "just now"],
    ["2026-11-26T10:29:00Z", relative.format(-1, "minute")],
    ["2026-11-26T09:35:00Z", relative.format(-55, "minute")],
    ["2026-11-26T07:30:00Z", relative.format(-3, "hour")],
    ["2026-11-25T09:00:00Z", relative.format(-1, "day")],
    ["2026-11-23T10:00:00Z", relative.format(-3, "day")],
  ])("%s", (time, text) => {
    expect(formatAge(time, now)).toBe(text);
  });

  test("from a week on, it is the date and time", () => {
    expect(formatAge("2026-11-12T10:30:00Z", now)).toMatch(/2026/);
  });
});

test("a date is the local one", () => {
  expect(isoDate(new Date("2026-11-25T23:30:00Z"))).toBe("2026-11-26");
  expect(isoDate(new Date("2026-01-05T12:00:00Z"))).toBe("2026-01-05");
});

test("only a date is one, of a year that a person means", () => {
  expect(["2026-11-26", "2028-02-29"].map(dateOr)).toEqual(["2026-11-26", "2028-02-29"]);
  const others = [null, "", "today", "2026-02-30", "2026-13-01", "26-11-26", "0001-01-01", "+12026-11-26"];
  expect(others.map(dateOr)).toEqual(others.map(() => ""));
});

test.each([
  ["2026-11-26", 0, "2026-11-25T23:00:00.000Z"],
  ["2026-10-25", 0, "2026-10-24T22:00:00.000Z"],
  ["2026-10-25", 1, "2026-10-25T23:00:00.000Z"],
  ["2026-03-29", 1, "2026-03-29T22:00:00.000Z"],
  ["2026-03-01", -1, "2026-02-27T23:00:00.000Z"],
])("the midnight of %s, %d days later", (date, later, time) => {
  expect(midnight(date, later).toISOString()).toBe(time);
});
