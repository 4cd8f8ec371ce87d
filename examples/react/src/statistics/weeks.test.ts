// Tests the weeks: where they begin, and that no clock change or year's end loses a day.
import { afterEach, expect, test, vi } from "vitest";
import { addDays, firstDayOfWeek, weekOf, weeksOf, type Day } from "./weeks";

const MONDAY = 1;
const SATURDAY = 6;
const SUNDAY = 7;

afterEach(() => vi.unstubAllEnvs());

test.each([
  ["2026-11-23", MONDAY, "2026-11-23"],
  ["2026-11-26", MONDAY, "2026-11-23"],
  ["2026-11-29", MONDAY, "2026-11-23"],
  ["2026-11-28", SUNDAY, "2026-11-22"],
  ["2026-11-29", SUNDAY, "2026-11-29"],
  ["2026-11-27", SATURDAY, "2026-11-21"],
  ["2026-11-28", SATURDAY, "2026-11-28"],
])("the week of %s that begins on day %i begins on %s", (date, firstDay, start) => {
  expect(weekOf(date, firstDay)).toBe(start);
});

test("a week may begin in the year before", () => {
  expect(weekOf("2027-01-01", MONDAY)).toBe("2026-12-28");
  expect(weekOf("2028-01-01", SUNDAY)).toBe("2027-12-26");
  expect(addDays("2026-12-28", 7)).toBe("2027-01-04");
});

test("a leap year has its day", () => {
  expect(addDays("2028-02-28", 1)).toBe("2028-02-29");
  expect(addDays("2027-02-28", 1)).toBe("2027-03-01");
});

// Sydney puts the clocks forward in October, Berlin back; in Santiago, a day of September has no midnight.
test.each(["Europe/Berlin", "America/New_York", "Australia/Sydney", "America/Santiago", "Pacific/Apia"])(
  "each day of a year comes once in %s",
  (zone) => {
    vi.stubEnv("TZ", zone);
    const days = Array.from({ length: 366 }, (_, later) => addDays("2026-01-01", later));
    expect(new Set(days).size).toBe(366);
    expect(days[365]).toBe("2027-01-01");
    for (const start of ["2026-03-23", "2026-03-30", "2026-10-19", "2026-10-26"]) {
      for (let later = 0; later < 7; later++) expect(weekOf(addDays(start, later), MONDAY)).toBe(start);
    }
  },
);

test("the week begins as the language says", () => {
  expect(["de-DE", "en-GB", "en-US", "ar-EG"].map(firstDayOfWeek)).toEqual([MONDAY, MONDAY, SUNDAY, SATURDAY]);
});

test("where the browser does not know, the week begins on Monday", () => {
  vi.spyOn(Intl, "Locale").mockImplementation(function () {
    return {} as Intl.Locale;
  });
  expect(firstDayOfWeek("en-US")).toBe(MONDAY);
  vi.restoreAllMocks();
});

test("weeks are the sums of seven days", () => {
  const days: Day[] = Array.from({ length: 14 }, (_, place) => ({
    date: addDays("2026-12-26", place),
    created: 1,
    completed: place,
  }));
  expect(weeksOf(days)).toEqual([
    { start: "2026-12-26", created: 7, completed: 21 },
    { start: "2027-01-02", created: 7, completed: 70 },
  ]);
  expect(weeksOf([])).toEqual([]);
});
