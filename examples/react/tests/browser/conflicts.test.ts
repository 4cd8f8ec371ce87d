// Two people edit one task: nothing is overwritten unseen, and one chooses field by field.
import type { Page } from "playwright-core";
import { afterAll, beforeAll, beforeEach, expect } from "vitest";
import type { Task } from "../../src/api/client";
import { startApi, type Api } from "./support/api";
import { expectAccessible } from "./support/axe";
import { test } from "./support/browser";

let api: Api;
let task: Task;
beforeAll(async () => {
  api = await startApi();
});
afterAll(() => api.stop());
beforeEach(async () => {
  await api.deleteTasks();
  task = await api.createTask("Buy milk");
});

const dialogOf = (page: Page) => page.getByRole("dialog", { name: "Somebody else has changed this task" });
const now = () => api.call<Task>("GET", `/tasks/${task.id}`);

/** Edits both texts, while somebody else does the same. */
async function editBoth(page: Page): Promise<void> {
  await page.getByRole("button", { name: "Edit Buy milk" }).click();
  const title = page.getByRole("textbox", { name: "Title" });
  await expect.poll(() => title.getAttribute("readonly")).toBe(null);
  await api.call("PUT", `/tasks/${task.id}`, { body: { title: "Buy oat milk", description: "Theirs" } });
  await title.fill("Buy soy milk");
  await page.getByRole("textbox", { name: "Description" }).fill("Mine");
  await page.getByRole("button", { name: "Save" }).click();
  await dialogOf(page).waitFor();
}

test("both versions are shown, and mine is kept where I choose it", async ({ visitor }) => {
  const page = await visitor.open();
  await editBoth(page);
  const dialog = dialogOf(page);
  for (const text of ["Buy soy milk", "Buy oat milk", "Mine", "Theirs"]) {
    await dialog.locator(".version-text", { hasText: text }).waitFor();
  }
  await dialog.getByText("The task is at version 2, not 1").waitFor();
  await expectAccessible(page);
  // Nothing was written meanwhile.
  expect(await now()).toMatchObject({ title: "Buy oat milk", description: "Theirs" });
  await dialog.getByRole("button", { name: "Save what is chosen" }).click();
  await page.locator(".swal2-popup", { hasText: "Task updated" }).waitFor();
  expect(await now()).toMatchObject({ title: "Buy soy milk", description: "Mine" });
});

test("theirs is kept where I choose it, field by field", async ({ visitor }) => {
  const page = await visitor.open();
  await editBoth(page);
  const dialog = dialogOf(page);
  await dialog.getByRole("group", { name: "Title" }).getByRole("radio", { name: "As it is now" }).check();
  await dialog.getByRole("button", { name: "Save what is chosen" }).click();
  await page.locator(".swal2-popup", { hasText: "Task updated" }).waitFor();
  expect(await now()).toMatchObject({ title: "Buy oat milk", description: "Mine" });
});

test("choosing theirs everywhere writes nothing", async ({ visitor }) => {
  const page = await visitor.open();
  await editBoth(page);
  const dialog = dialogOf(page);
  for (const field of ["Title", "Description"]) {
    await dialog.getByRole("group", { name: field }).getByRole("radio", { name: "As it is now" }).check();
  }
  const { updated_at } = await now();
  await dialog.getByRole("button", { name: "Save what is chosen" }).click();
  await page.getByRole("article", { name: "Buy oat milk" }).waitFor();
  expect((await now()).updated_at).toBe(updated_at);
});

test("a task that was deleted while it was edited can be restored, and the text is not lost", async ({ visitor }) => {
  const page = await visitor.open();
  await page.getByRole("button", { name: "Edit Buy milk" }).click();
  const title = page.getByRole("textbox", { name: "Title" });
  await expect.poll(() => title.getAttribute("readonly")).toBe(null);
  await title.fill("Buy soy milk");
  await page.route(`**/tasks/${task.id}`, async (route) => {
    if (route.request().method() === "PUT") await api.deleteTasks();
    await route.continue();
  });
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByText("Somebody has deleted this task. Your text is still here.").waitFor();
  await page.unroute(`**/tasks/${task.id}`);
  await page.getByRole("button", { name: "Restore the task" }).click();
  expect(await title.inputValue()).toBe("Buy soy milk");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByRole("article", { name: "Buy soy milk" }).waitFor();
  expect(await now()).toMatchObject({ id: task.id, title: "Buy soy milk" });
});

test("what I did not touch stays as somebody else left it, unless I choose otherwise", async ({ visitor }) => {
  const page = await visitor.open();
  await page.getByRole("button", { name: "Edit Buy milk" }).click();
  const title = page.getByRole("textbox", { name: "Title" });
  await expect.poll(() => title.getAttribute("readonly")).toBe(null);
  await api.call("PUT", `/tasks/${task.id}`, { body: { description: "Theirs" } });
  await title.fill("Buy soy milk");
  await page.getByRole("button", { name: "Save" }).click();
  await dialogOf(page).getByRole("button", { name: "Save what is chosen" }).click();
  await page.locator(".swal2-popup", { hasText: "Task updated" }).waitFor();
  expect(await now()).toMatchObject({ title: "Buy soy milk", description: "Theirs" });
});
