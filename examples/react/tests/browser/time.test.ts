// The time machine and the statistics: the list as it was, and figures that follow what happens.
import { afterAll, beforeAll, beforeEach, expect } from "vitest";
import type { Task } from "../../src/api/client";
import { startApi, type Api } from "./support/api";
import { test } from "./support/browser";

let api: Api;
let milk: Task;
beforeAll(async () => {
  api = await startApi();
});
afterAll(() => api.stop());
beforeEach(async () => {
  await api.deleteTasks();
  milk = await api.createTask("Buy milk");
  await api.call("PUT", `/tasks/${milk.id}`, { body: { title: "Buy oat milk" } });
  await api.call("PATCH", `/tasks/${milk.id}/complete`);
});

/** What the time machine has in its lists. */
const rows = (page: import("playwright-core").Page) =>
  page.getByRole("main").getByRole("listitem").filter({ hasText: "milk" });

test("the slider shows the tasks as they were, and jumps from change to change", async ({ visitor }) => {
  const page = await visitor.open("/time-machine");
  await page.getByText("The list as it is now").waitFor();
  await rows(page).filter({ hasText: "Buy oat milk" }).waitFor();
  const slider = page.getByRole("slider", { name: "Time" });
  expect(await slider.getAttribute("aria-valuetext")).toMatch(/^Now, /);

  // Completing, renaming, creating: two steps back, it still has its first title.
  const back = page.getByRole("button", { name: "Previous change" });
  await back.click();
  await page.getByText("The list as it was on").waitFor();
  await page.waitForURL(/at=/);
  await back.click();
  await rows(page).filter({ hasText: "Buy oat milk" }).waitFor();
  const before = page.url();
  await back.click();
  await rows(page).filter({ hasText: "Buy milk" }).waitFor();

  // The address is that of the moment.
  await page.waitForURL((url) => url.href !== before);
  const other = await visitor.open(new URL(page.url()).pathname + new URL(page.url()).search);
  await rows(other).filter({ hasText: "Buy milk" }).waitFor();

  await page.getByRole("button", { name: "Now", exact: true }).click();
  await rows(page).filter({ hasText: "Buy oat milk" }).waitFor();
});

test("it plays from the beginning to now", async ({ visitor }) => {
  const page = await visitor.open("/time-machine");
  await rows(page).first().waitFor();
  await page.getByRole("radio", { name: "4×" }).check({ force: true });
  const slider = page.getByRole("slider", { name: "Time" });
  const end = await slider.inputValue();
  await page.getByRole("button", { name: "Play" }).click();
  await page.getByRole("button", { name: "Pause" }).waitFor();
  const seen = new Set<string>();
  await expect
    .poll(
      async () => {
        seen.add(await slider.inputValue());
        return page.getByRole("button", { name: "Play" }).isVisible();
      },
      { timeout: 40_000, interval: 100 },
    )
    .toBe(true);
  expect(seen.size).toBeGreaterThan(5);
  expect(await slider.inputValue()).toBe(end);
  await page.getByText("The list as it is now").waitFor();
});

test("a long list comes page by page", async ({ visitor }) => {
  await api.createTasks(Array.from({ length: 120 }, (_, number) => `More milk ${number}`));
  const page = await visitor.open("/time-machine");
  await expect.poll(() => rows(page).count()).toBe(50);
  await page.getByRole("button", { name: "Show more" }).click();
  await expect.poll(() => rows(page).count()).toBe(100);
});

test("statistics count what happens, by day and by week, in the browser's time zone", async ({ visitor }) => {
  const page = await visitor.open("/statistics");
  await page.getByText("Europe/Berlin").waitFor();
  const day = page.getByRole("table", { name: /on each day/ });
  await page.getByText("Show as a table").first().click();
  const today = new Intl.DateTimeFormat("en-GB", { weekday: "long", timeZone: "Europe/Berlin" }).format();
  const row = day.getByRole("row", { name: new RegExp(today) });
  await expect.poll(() => row.getByRole("cell").allInnerTexts()).toEqual(["1", "1"]);
  // The first day of the week is that of en-GB.
  expect(await day.getByRole("rowheader").first().innerText()).toMatch(/^Monday/);
  await api.createTask("Buy bread");
  await expect.poll(() => row.getByRole("cell").allInnerTexts()).toEqual(["2", "1"]);

  await page.getByRole("button", { name: "Previous week" }).click();
  await page.waitForURL(/date=/);
  await expect.poll(() => page.getByRole("heading", { level: 2 }).first().innerText()).not.toContain("This week");
});

test("in another locale, the week begins on another day", async ({ newVisitor }) => {
  const visitor = await newVisitor({ locale: "en-US", timezoneId: "Pacific/Auckland" });
  const page = await visitor.open("/statistics");
  await page.getByText("Show as a table").first().click();
  const day = page.getByRole("table", { name: /on each day/ });
  await expect.poll(() => day.getByRole("rowheader").first().innerText()).toMatch(/^Sunday/);
  await page.getByText("Pacific/Auckland").waitFor();
});
