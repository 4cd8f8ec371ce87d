// Two windows of two people stay alike, whatever is done in one of them.
import type { Page } from "playwright-core";
import { afterAll, beforeAll, expect } from "vitest";
import { startApi, type Api } from "./support/api";
import { test } from "./support/browser";
import { pageUrl } from "./support/place";

let api: Api;
beforeAll(async () => {
  api = await startApi();
});
afterAll(() => api.stop());

const row = (page: Page, title: string) => page.getByRole("article", { name: title, exact: true });
const titles = (page: Page) => page.getByRole("article").evaluateAll((all) => all.map((each) => each.ariaLabel));

test("two windows stay alike", async ({ newVisitor }) => {
  const [ann, ben] = await Promise.all([newVisitor(), newVisitor()]);
  const one = await ann.open();
  const other = await ben.open();
  for (const page of [one, other]) await page.getByText("Live", { exact: true }).waitFor();

  for (const title of ["Buy milk", "Call Cid", "Water the plants"]) {
    await one.getByRole("textbox", { name: "New task" }).fill(title);
    await one.keyboard.press("Enter");
    await row(other, title).waitFor();
  }
  expect(await titles(other)).toEqual(["Water the plants", "Call Cid", "Buy milk"]);

  await other.getByRole("button", { name: "Edit Buy milk" }).click();
  const title = other.getByRole("textbox", { name: "Title" });
  await expect.poll(() => title.getAttribute("readonly")).toBe(null);
  await title.fill("Buy oat milk");
  await other.getByRole("button", { name: "Save" }).click();
  await row(one, "Buy oat milk").waitFor();
  // It stays at its place.
  expect(await titles(one)).toEqual(["Water the plants", "Call Cid", "Buy oat milk"]);

  await one.getByRole("checkbox", { name: "Completed: Call Cid" }).click();
  await row(other, "Call Cid").waitFor({ state: "detached" });
  await other.getByRole("link", { name: "Completed 1" }).waitFor();

  await other.getByRole("button", { name: "Delete Buy oat milk" }).click();
  await row(one, "Buy oat milk").waitFor({ state: "detached" });
  await other.getByRole("button", { name: "Undo" }).click();
  await row(one, "Buy oat milk").waitFor();
  expect(await titles(one)).toEqual(["Water the plants", "Buy oat milk"]);
  await expect.poll(() => titles(other)).toEqual(["Water the plants", "Buy oat milk"]);
});

test("a thousand changes at once arrive in the other window", async ({ visitor }) => {
  const page = await visitor.open();
  await page.getByText("Live", { exact: true }).waitFor();
  await api.createTasks(Array.from({ length: 1000 }, (_, number) => `Bulk ${number}`));
  await page.getByRole("link", { name: "Open 1,002" }).waitFor();
  const first = (await api.tasks())[0];
  await row(page, first?.title ?? "").waitFor();
});

test("what changes while a list is fetched is not missed", async ({ visitor }) => {
  const page = await visitor.context.newPage();
  await page.route("**/api/v1/tasks?*limit=200*", async (route) => {
    // The answer is read before the change, and arrives after it.
    const answer = await route.fetch();
    // Once the page has heard of the change, it counts anew.
    const heard = page.waitForRequest(/count=true/);
    await api.createTask("Created meanwhile");
    await heard;
    await route.fulfill({ response: answer });
  });
  await page.goto((await visitor.open()).url());
  await row(page, "Created meanwhile").waitFor();
});

test("where the changes do not continue (410), everything is read anew", async ({ visitor }) => {
  const task = await api.createTask("Before the restore");
  const page = await visitor.context.newPage();
  let streams = 0;
  await page.route("**/api/v1/changes", async (route) => {
    streams += 1;
    if (streams > 1) return route.continue();
    // The list is there already, and no change of the stream tells of this one.
    await row(page, "Before the restore").waitFor();
    await api.call("PUT", `/tasks/${task.id}`, { body: { title: "After the restore" } });
    const error = "The cursor is of another database: read the list anew.";
    const headers = { "Access-Control-Allow-Origin": pageUrl, "Access-Control-Allow-Credentials": "true" };
    return route.fulfill({ status: 410, headers, json: { success: false, data: null, popup: null, error } });
  });
  await page.goto(pageUrl);
  await row(page, "After the restore").waitFor();
  await page.getByText("Live", { exact: true }).waitFor();
  await expect.poll(() => streams).toBeGreaterThan(1);
});
