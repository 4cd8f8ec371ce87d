// The tasks: every action with its popup, errors at their fields, filters in the address.
import type { Page } from "playwright-core";
import { afterAll, beforeAll, beforeEach, describe, expect } from "vitest";
import { startApi, type Api } from "./support/api";
import { test } from "./support/browser";

let api: Api;
beforeAll(async () => {
  api = await startApi();
});
afterAll(() => api.stop());
beforeEach(() => api.deleteTasks());

const row = (page: Page, title: string) => page.getByRole("article", { name: title, exact: true });
const popup = (page: Page, text: string) => page.locator(".swal2-popup").filter({ hasText: text });

async function add(page: Page, title: string): Promise<void> {
  await page.getByRole("textbox", { name: "New task" }).fill(title);
  await page.keyboard.press("Enter");
}

describe("every action has its popup", () => {
  test("creating", async ({ visitor }) => {
    const page = await visitor.open();
    await page.getByRole("heading", { name: "Nothing is open" }).waitFor();
    await add(page, "Buy milk");
    await popup(page, "Task created").waitFor();
    await row(page, "Buy milk").waitFor();
    await page.getByText("Saved", { exact: true }).waitFor();
    expect((await api.tasks()).map(({ title }) => title)).toEqual(["Buy milk"]);
  });

  test("editing, by the keyboard alone", async ({ visitor }) => {
    const task = await api.createTask("Buy milk");
    const page = await visitor.open();
    await page.getByRole("button", { name: "Edit Buy milk" }).focus();
    await page.keyboard.press("Enter");
    await expect.poll(() => page.evaluate(() => window.getSelection()?.toString())).toBe("Buy milk");
    await page.keyboard.type("Buy oat milk");
    await page.keyboard.press("Tab");
    await page.keyboard.type("Two litres");
    await page.keyboard.press("Control+Enter");
    await popup(page, "Task updated").waitFor();
    await row(page, "Buy oat milk").getByText("Two litres").waitFor();
    expect((await api.tasks())[0]).toMatchObject({ id: task.id, title: "Buy oat milk", description: "Two litres" });
    await expect
      .poll(() => page.evaluate(() => document.activeElement?.getAttribute("aria-label")))
      .toBe("Edit Buy oat milk");
  });

  test("completing and reopening, and the tabs that they go to", async ({ visitor }) => {
    await api.createTask("Buy milk");
    const page = await visitor.open();
    await page.getByRole("checkbox", { name: "Completed: Buy milk" }).click();
    await popup(page, "Task completed").waitFor();
    await row(page, "Buy milk").waitFor({ state: "detached" });
    await page.getByRole("link", { name: "Completed 1" }).click();
    await page.waitForURL(/list=completed/);
    await page.getByRole("checkbox", { name: "Completed: Buy milk" }).click();
    await popup(page, "Task reopened").waitFor();
    await page.getByRole("heading", { name: "Nothing is completed yet" }).waitFor();
    expect((await api.tasks())[0]?.is_completed).toBe(false);
  });

  test("deleting, and undo in the toast brings the same task back", async ({ visitor }) => {
    const task = await api.createTask("Buy milk");
    const page = await visitor.open();
    await page.getByRole("button", { name: "Delete Buy milk" }).click();
    await popup(page, "Task deleted").waitFor();
    await row(page, "Buy milk").waitFor({ state: "detached" });
    expect(await api.tasks()).toEqual([]);
    await popup(page, "Task deleted").getByRole("button", { name: "Undo" }).click();
    await popup(page, "Restored").waitFor();
    await row(page, "Buy milk").waitFor();
    expect((await api.tasks())[0]).toMatchObject({ id: task.id, created_at: task.created_at });
  });

  test("undo by Ctrl+Z", async ({ visitor }) => {
    await api.createTask("Buy milk");
    const page = await visitor.open();
    await page.getByRole("button", { name: "Delete Buy milk" }).click();
    await popup(page, "Task deleted").waitFor();
    await page.keyboard.press("Control+z");
    await row(page, "Buy milk").waitFor();
  });
});

describe("what the API refuses", () => {
  test("a title without a visible character: said at its field, and the text is not lost", async ({ visitor }) => {
    const page = await visitor.open();
    await add(page, "   ");
    const field = page.getByRole("textbox", { name: "New task" });
    await page.getByRole("alert").filter({ hasText: "The title must have a visible character" }).waitFor();
    expect(await field.getAttribute("aria-invalid")).toBe("true");
    expect(await field.inputValue()).toBe("   ");
  });

  test("a description that is too long: said at its field", async ({ visitor }) => {
    await api.createTask("Buy milk");
    const page = await visitor.open();
    await page.getByRole("button", { name: "Edit Buy milk" }).click();
    const field = page.getByRole("textbox", { name: "Description" });
    await expect.poll(() => field.getAttribute("readonly")).toBe(null);
    await field.fill("x".repeat(5001));
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByRole("alert").filter({ hasText: "The description" }).waitFor();
    expect(await field.getAttribute("aria-invalid")).toBe("true");
    expect((await field.inputValue()).length).toBe(5001);
  });

  test("completing a task that is gone: rolled back, and said", async ({ visitor }) => {
    await api.createTask("Buy milk");
    const page = await visitor.open();
    await row(page, "Buy milk").waitFor();
    // This page does not hear of the deletion before it asks.
    await page.evaluate(() => {
      BroadcastChannel.prototype.postMessage = () => undefined;
    });
    await page.route("**/complete", async (route) => {
      await api.deleteTasks();
      await route.continue();
    });
    await page.getByRole("checkbox", { name: "Completed: Buy milk" }).click();
    await popup(page, "is not completed").waitFor();
    await popup(page, "There is no such task.").waitFor();
    await row(page, "Buy milk").waitFor({ state: "detached" });
  });
});

test("a hundred quick clicks: the last state is what the database has", async ({ visitor }) => {
  const task = await api.createTask("Buy milk");
  const page = await visitor.open();
  const checkbox = page.getByRole("checkbox", { name: "Completed: Buy milk" });
  await checkbox.waitFor();
  for (const clicks of [99, 100]) {
    const before = await checkbox.isChecked();
    await checkbox.evaluate((element: HTMLInputElement, count) => {
      for (let click = 0; click < count; click++) element.click();
    }, clicks);
    const wanted = clicks % 2 === 1 ? !before : before;
    expect(await checkbox.isChecked()).toBe(wanted);
    await expect.poll(() => page.getByText("Saved", { exact: true }).isVisible()).toBe(true);
    await expect
      .poll(async () => (await api.call<{ is_completed: boolean }>("GET", `/tasks/${task.id}`)).is_completed)
      .toBe(wanted);
  }
});

test("three clicks, and then somebody else changes the task: its row is not stuck", async ({ visitor }) => {
  const task = await api.createTask("Buy milk");
  const page = await visitor.open();
  const checkbox = page.getByRole("checkbox", { name: "Completed: Buy milk" });
  await checkbox.waitFor();
  await checkbox.evaluate((element: HTMLInputElement) => {
    for (let click = 0; click < 3; click++) element.click();
  });
  await row(page, "Buy milk").waitFor({ state: "detached" });
  await api.call("PATCH", `/tasks/${task.id}/incomplete`);
  await api.call("PUT", `/tasks/${task.id}`, { body: { title: "Buy oat milk" } });
  await row(page, "Buy oat milk").waitFor();
});

test("by the keyboard alone: after Undo in the toast, one goes on where one was", async ({ visitor }) => {
  await api.createTasks(["Milk", "Bread"]);
  const page = await visitor.open();
  await page.getByRole("button", { name: "Delete Milk" }).focus();
  await page.keyboard.press("Enter");
  await row(page, "Milk").waitFor({ state: "detached" });
  const bread = page.getByRole("checkbox", { name: "Completed: Bread" });
  await expect.poll(() => bread.evaluate((element) => element === document.activeElement)).toBe(true);
  await popup(page, "Task deleted").getByRole("button", { name: "Undo" }).focus();
  await page.keyboard.press("Enter");
  await row(page, "Milk").waitFor();
  await expect.poll(() => bread.evaluate((element) => element === document.activeElement)).toBe(true);
});

test("a double click on delete keeps the undo", async ({ visitor }) => {
  await api.createTask("Buy milk");
  const page = await visitor.open();
  await page.getByRole("button", { name: "Delete Buy milk" }).dblclick();
  await popup(page, "Task deleted").getByRole("button", { name: "Undo" }).click();
  await row(page, "Buy milk").waitFor();
});

test("a search that the API does not accept says so, and can be tried again or changed", async ({ visitor }) => {
  await api.createTask("Buy milk");
  const page = await visitor.open("/?text=%00");
  const alert = page.getByRole("alert");
  await alert.getByText("Change or clear the search.").waitFor();
  const lists = () => visitor.requests.filter((url) => url.includes("limit=200")).length;
  const before = lists();
  await alert.getByRole("button", { name: "Try again" }).click();
  await expect.poll(lists).toBeGreaterThan(before);
  await page.getByRole("searchbox", { name: "Search" }).fill("milk");
  await row(page, "Buy milk").waitFor();
  expect(await alert.count()).toBe(0);
});

describe("what is typed is not lost", () => {
  test("in an editor: another row, another page, and back", async ({ visitor }) => {
    await api.createTasks(["One", "Two"]);
    const page = await visitor.open();
    const title = page.getByRole("textbox", { name: "Title" });
    await page.getByRole("button", { name: "Edit One" }).click();
    await expect.poll(() => title.getAttribute("readonly")).toBe(null);
    await title.fill("One, half typed");
    await page.getByRole("button", { name: "Edit Two" }).click();
    await row(page, "One").getByText("Unsaved edit").waitFor();
    await page.getByRole("link", { name: "History", exact: true }).click();
    await page.getByRole("link", { name: "Tasks", exact: true }).click();
    await page.getByRole("button", { name: "Edit One" }).click();
    expect(await title.inputValue()).toBe("One, half typed");
    await page.getByRole("button", { name: "Save" }).click();
    await row(page, "One, half typed").waitFor();
  });

  test("in the line for a new task, and what the API refuses meanwhile", async ({ visitor }) => {
    const page = await visitor.open();
    const line = page.getByRole("textbox", { name: "New task" });
    await page.route("**/api/v1/tasks", async (route) => {
      if (route.request().method() === "POST") await new Promise((resolve) => setTimeout(resolve, 500));
      await route.continue();
    });
    await add(page, "x".repeat(300));
    await line.fill("The next one");
    const refused = page.getByRole("list", { name: "Not saved yet" });
    await refused.getByText("title: must have at most 255 characters").waitFor();
    expect(await line.inputValue()).toBe("The next one");
    await page.getByRole("link", { name: "History", exact: true }).click();
    await page.getByRole("link", { name: "Tasks", exact: true }).click();
    expect(await line.inputValue()).toBe("The next one");
    await refused.getByRole("button", { name: "Discard" }).click();
    await refused.waitFor({ state: "detached" });
  });
});

describe("which tasks are shown", () => {
  test("search and dates are in the address, for whoever opens it", async ({ visitor }) => {
    await api.createTasks(["Buy milk", "Buy bread", "Call Ann"]);
    const page = await visitor.open();
    await page.getByRole("searchbox", { name: "Search" }).fill("BUY");
    await page.waitForURL(/text=BUY/);
    await row(page, "Call Ann").waitFor({ state: "detached" });
    await row(page, "Buy milk").waitFor();
    await page.getByRole("link", { name: "Open 2" }).waitFor();

    const other = await visitor.open(new URL(page.url()).search);
    await row(other, "Buy bread").waitFor();
    expect(await other.getByRole("article").count()).toBe(2);

    const later = await visitor.open("/?from=2999-01-01");
    await later.getByRole("heading", { name: "No task matches" }).waitFor();
  });

  test("a change that makes a task match, or no more, shows at once", async ({ visitor }) => {
    const [milk] = await api.createTasks(["Milk", "Bread"]);
    const page = await visitor.open("/?text=milk");
    await row(page, "Milk").waitFor();
    await api.call("PUT", `/tasks/${milk?.id ?? ""}`, { body: { title: "Cheese" } });
    await page.getByRole("heading", { name: "No task matches" }).waitFor();
    await api.createTask("More milk");
    await row(page, "More milk").waitFor();
  });
});
