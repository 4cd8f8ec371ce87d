// The history: what happened, what differs, and taking it back with a preview, one change or all that an agent did.
import type { Page } from "playwright-core";
import { afterAll, beforeAll, beforeEach, describe, expect } from "vitest";
import type { Task } from "../../src/api/client";
import { startApi, type Api } from "./support/api";
import { test, type Visitor } from "./support/browser";

const ann = { token: "ann-secret" };
const agent = { token: "agent-secret", headers: { "Change-Set": "run-1" } };

let api: Api;
beforeAll(async () => {
  api = await startApi({ env: { API_TOKENS: "ann:ann-secret,agent-7:agent-secret" } });
});
afterAll(() => api.stop());
beforeEach(() => api.deleteTasks(ann));

async function openAsAnn(visitor: Visitor, path: string): Promise<Page> {
  await visitor.context.addInitScript(() => {
    // A new tab is empty at first.
    if (location.protocol === "http:") sessionStorage.setItem("taskapi-token", "ann-secret");
  });
  return visitor.open(path);
}

const entry = (page: Page, sentence: string) => page.getByRole("listitem").filter({ hasText: sentence });
const popup = (page: Page, text: string) => page.locator(".swal2-popup").filter({ hasText: text });
const taskOf = (id: string) => api.call<Task>("GET", `/tasks/${id}`, ann);

test("an entry opens its difference, word by word", async ({ visitor }) => {
  const task = await api.createTask("Buy milk", ann);
  await api.call("PUT", `/tasks/${task.id}`, { ...ann, body: { title: "Buy oat milk" } });
  const page = await openAsAnn(visitor, `/history?task_id=${task.id}`);
  await page.getByText("2 entries").waitFor();
  await page
    .getByRole("button", { name: /ann renamed Buy milk to Buy oat milk/ })
    .first()
    .click();
  await page.locator("ins", { hasText: "oat" }).waitFor();
  await page.getByText("Version").waitFor();
});

test("filters are in the address, and in the request", async ({ visitor }) => {
  const task = await api.createTask("Buy milk", ann);
  await api.call("PATCH", `/tasks/${task.id}/complete`, agent);
  const page = await openAsAnn(visitor, `/history?task_id=${task.id}`);
  await page.getByLabel("Action").selectOption({ label: "Completed" });
  await page.waitForURL(/action_type=COMPLETED/);
  await page.getByText("1 entry").waitFor();
  await page.getByLabel("Action").selectOption({ label: "Any" });
  await page.getByLabel("Who").fill("agent-7");
  await page.waitForURL(/actor=agent-7/);
  await page.getByText("1 entry").waitFor();
  await page.goBack();
  await page.getByText("2 entries").waitFor();
  await page.getByLabel("From").fill("2999-01-01");
  await page.getByRole("heading", { name: "Nothing was found" }).waitFor();
});

test("new entries come by themselves, and old ones as one scrolls", async ({ visitor }) => {
  const page = await openAsAnn(visitor, "/history");
  await api.createTasks(
    Array.from({ length: 120 }, (_, number) => `Number ${number}`),
    ann,
  );
  await entry(page, "Number 119").or(entry(page, "Number 0")).first().waitFor();
  await expect
    .poll(async () => {
      await page.mouse.wheel(0, 5000);
      return page.getByRole("button", { name: /^Undo: ann created Number/ }).count();
    })
    .toBe(120);
});

describe("undo", () => {
  test("of a deletion, with its preview", async ({ visitor }) => {
    const task = await api.createTask("Buy milk", ann);
    await api.call("DELETE", `/tasks/${task.id}`, ann);
    const page = await openAsAnn(visitor, `/history?task_id=${task.id}`);
    await page.getByRole("button", { name: "Undo: ann deleted Buy milk" }).click();
    const dialog = page.getByRole("dialog", { name: "Undo this change" });
    await dialog.getByText("will be there again").waitFor();
    await expect(taskOf(task.id)).rejects.toThrow("404");
    await dialog.getByRole("button", { name: "Undo", exact: true }).click();
    await popup(page, "Restored").waitFor();
    expect(await taskOf(task.id)).toMatchObject({ id: task.id, title: "Buy milk", created_at: task.created_at });
    await page.getByText("3 entries").waitFor();
  });

  test("of one change that somebody has changed since: a conflict that is explained", async ({ visitor }) => {
    const task = await api.createTask("Buy milk", ann);
    await api.call("PUT", `/tasks/${task.id}`, { ...agent, body: { title: "[P2] Buy milk" } });
    await api.call("PUT", `/tasks/${task.id}`, { ...ann, body: { title: "Buy oat milk" } });
    const page = await openAsAnn(visitor, `/history?task_id=${task.id}&actor=agent-7`);
    await page.getByRole("button", { name: /^Undo: agent-7 renamed/ }).click();
    const dialog = page.getByRole("dialog", { name: "Undo this change" });
    await dialog.getByRole("heading", { name: "This cannot be undone" }).waitFor();
    await dialog.getByRole("button", { name: "Close" }).click();
    expect((await taskOf(task.id)).title).toBe("Buy oat milk");
  });

  test("of everything that an agent did today, in one dialog, but for the conflicts", async ({ visitor }) => {
    const tasks = await api.createTasks(["One", "Two", "Three", "Four"], ann);
    const [one, two, three, four] = tasks.map(({ id }) => id) as [string, string, string, string];
    for (const [id, title] of [
      [one, "[P2] One"],
      [two, "[P2] Two"],
    ]) {
      await api.call("PUT", `/tasks/${id ?? ""}`, { ...agent, body: { title } });
    }
    await api.call("PATCH", `/tasks/${three}/complete`, agent);
    await api.call("DELETE", `/tasks/${four}`, agent);
    await api.call("PUT", `/tasks/${one}`, { ...ann, body: { title: "One, by Ann" } });

    const page = await openAsAnn(visitor, "/history?actor=agent-7");
    await page.getByRole("button", { name: "Undo everything by agent-7…" }).click();
    const dialog = page.getByRole("dialog", { name: "Undo everything by agent-7" });
    await expect.poll(() => dialog.getByRole("radio", { name: "Today" }).isChecked()).toBe(true);
    for (const title of ["[P2] One", "Two", "Three", "Four"]) await dialog.getByText(title).first().waitFor();
    expect((await taskOf(two)).title).toBe("[P2] Two");
    await dialog.getByRole("button", { name: "Undo all but the conflicts" }).click();
    await popup(page, "Restored").waitFor();

    const now = await Promise.all([one, two, three, four].map(taskOf));
    expect(now.map(({ title }) => title)).toEqual(["One, by Ann", "Two", "Three", "Four"]);
    expect(now.map(({ is_completed }) => is_completed)).toEqual([false, false, false, false]);
  });

  test("of a run", async ({ visitor }) => {
    const tasks = await api.createTasks(["One", "Two"], ann);
    const run = { token: agent.token, headers: { "Change-Set": "run-2" } };
    for (const { id } of tasks) await api.call("PATCH", `/tasks/${id}/complete`, run);
    const page = await openAsAnn(visitor, "/history?change_set=run-2");
    await page.getByRole("button", { name: "Undo this run…" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Undo everything" }).click();
    await popup(page, "Restored").waitFor();
    expect((await api.tasks(ann)).map(({ is_completed }) => is_completed)).toEqual([false, false]);
  });

  test("somebody changes it between the preview and the undo: nothing is written, and the preview is new", async ({
    visitor,
  }) => {
    const task = await api.createTask("Buy milk", ann);
    await api.call("PUT", `/tasks/${task.id}`, { ...agent, body: { title: "[P2] Buy milk" } });
    const page = await openAsAnn(visitor, `/history?task_id=${task.id}&actor=agent-7`);
    await page.getByRole("button", { name: /^Undo: agent-7 renamed/ }).click();
    const dialog = page.getByRole("dialog", { name: "Undo this change" });
    await dialog.getByRole("heading", { name: "What will happen" }).waitFor();
    await api.call("PUT", `/tasks/${task.id}`, { ...ann, body: { title: "Buy oat milk" } });
    await dialog.getByRole("button", { name: "Undo", exact: true }).click();
    await dialog.getByText("Somebody has changed this in the meantime").waitFor();
    await dialog.getByRole("heading", { name: "This cannot be undone" }).waitFor();
    expect((await taskOf(task.id)).title).toBe("Buy oat milk");
  });
});
