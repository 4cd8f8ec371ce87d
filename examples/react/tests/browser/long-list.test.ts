// Ten thousand tasks: the first ones are there at once, scrolling stays smooth, and only what is visible is in the page.
import { afterAll, beforeAll, expect } from "vitest";
import { startApi, type Api } from "./support/api";
import { test } from "./support/browser";

const COUNT = 10_000;

let api: Api;
beforeAll(async () => {
  api = await startApi();
  await api.fill(COUNT);
});
afterAll(() => api.stop());

test("all of them can be reached by scrolling, and few are in the page", async ({ visitor }) => {
  const page = await visitor.open();
  // A bulk write makes its tasks at one time: their order is that of their ids.
  const [first, ...rest] = await api.tasks();
  const last = rest.at(-1);
  await page.getByRole("article", { name: first?.title ?? "", exact: true }).waitFor();
  await page.getByRole("link", { name: "Open 10,000" }).waitFor();
  const seen = new Set<string>();
  let most = 0;
  await expect
    .poll(
      async () => {
        const shown = await page.getByRole("article").evaluateAll((all) => all.map((each) => each.ariaLabel ?? ""));
        most = Math.max(most, shown.length);
        for (const title of shown) seen.add(title);
        await page.mouse.wheel(0, 20_000);
        return shown.includes(last?.title ?? "");
      },
      { timeout: 60_000, interval: 20 },
    )
    .toBe(true);
  expect(most).toBeLessThan(60);
  expect(await page.getByRole("listitem").last().getAttribute("aria-posinset")).toBe(String(COUNT));
});

test("what changes far from where one looks neither moves nor breaks the list", async ({ visitor }) => {
  const page = await visitor.open();
  const tasks = await api.tasks();
  const target = tasks[150];
  await page.getByRole("article").first().waitFor();
  const row = page.getByRole("article", { name: target?.title ?? "", exact: true });
  while (!(await row.isVisible())) await page.mouse.wheel(0, 2_000);
  const top = async () => (await row.boundingBox())?.y ?? 0;
  await row.scrollIntoViewIfNeeded();
  const before = await top();
  await api.createTask("A new one at the top");
  await page.getByRole("link", { name: "Open 10,001" }).waitFor();
  expect(Math.abs((await top()) - before)).toBeLessThan(2);
});
