// Every page, with and without something in it, wide and narrow: no axe-core violations, in both colour schemes, and no sideways scrolling.
import { afterAll, beforeAll, describe, expect } from "vitest";
import { startApi, type Api } from "./support/api";
import { expectAccessible } from "./support/axe";
import { test, type Visitor } from "./support/browser";

const PAGES = { "/": "Tasks", "/history": "History", "/time-machine": "Time machine", "/statistics": "Statistics" };
const SIZES = [
  { width: 375, height: 740 },
  { width: 1280, height: 900 },
  { width: 1920, height: 1080 },
];

let api: Api;
beforeAll(async () => {
  api = await startApi();
});
afterAll(() => api.stop());

async function look(visitor: Visitor, path: string, heading: string, isEmpty = false): Promise<void> {
  const page = await visitor.open(path);
  await page.getByRole("heading", { level: 1, name: heading }).waitFor({ state: "attached" });
  await page.getByText("Live", { exact: true }).waitFor();
  await expect.poll(() => page.getByRole("main").innerText()).not.toMatch(/Loading|Counting…|Looking back…/);
  await expectAccessible(page);
  for (const size of SIZES) {
    await page.setViewportSize(size);
    const overhang = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    expect(overhang, `${path} at ${size.width} px`).toBeLessThanOrEqual(0);
  }
  if (!isEmpty) {
    await page.setViewportSize(SIZES[0] as { width: number; height: number });
    await expectAccessible(page);
  }
  await page.close();
}

describe("pages", () => {
  for (const [path, heading] of Object.entries(PAGES)) {
    test(`${heading}, while there is nothing`, ({ visitor }) => look(visitor, path, heading, true));
  }
  test("an address that is none", ({ visitor }) => look(visitor, "/nowhere", "There is no such page", true));

  test("with long texts", async ({ visitor }) => {
    const long = { title: "W".repeat(255), description: "i".repeat(5000) };
    const [task] = await api.createTasks([long, { title: "Buy milk", description: "Two litres\nand bread" }]);
    await api.call("PUT", `/tasks/${task?.id ?? ""}`, { body: { description: "M".repeat(4000) } });
    await api.call("PATCH", `/tasks/${task?.id ?? ""}/complete`);
    for (const [path, heading] of Object.entries(PAGES)) await look(visitor, path, heading);
    await look(visitor, "/?list=completed", "Tasks");
    await look(visitor, `/history?task_id=${task?.id ?? ""}`, "History");
  }, 180_000);
});

test("what opens: an editor with an error, a toast, an entry, a dialog", async ({ visitor }) => {
  await api.createTask("Buy bread");
  const page = await visitor.open();
  await page.getByRole("button", { name: "Edit Buy bread" }).click();
  const title = page.getByRole("textbox", { name: "Title" });
  await expect.poll(() => title.getAttribute("readonly")).toBe(null);
  await title.fill("");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByRole("alert").waitFor();
  await expectAccessible(page);
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: "Delete Buy bread" }).click();
  await page.locator(".swal2-popup", { hasText: "Task deleted" }).waitFor();
  await expectAccessible(page);

  await page.getByRole("link", { name: "History", exact: true }).click();
  const entry = page.getByRole("button", { name: /somebody deleted Buy bread/i });
  await entry.first().click();
  await page.getByRole("link", { name: "Only this task" }).waitFor();
  await expectAccessible(page);
  await page.getByRole("button", { name: /^Undo: .*deleted Buy bread/i }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Undo", exact: true }).waitFor();
  await expectAccessible(page);
});

test("with reduced motion, nothing moves", async ({ newVisitor }) => {
  await api.createTask("Sweep the stairs");
  const visitor = await newVisitor({ reducedMotion: "reduce" });
  const page = await visitor.open();
  const moving = () =>
    page.evaluate(() => document.getAnimations().filter(({ playState }) => playState === "running").length);
  await page.getByRole("button", { name: "Edit Sweep the stairs" }).hover();
  expect(await moving()).toBe(0);
  await page.getByRole("button", { name: "Delete Sweep the stairs" }).click();
  await page.locator(".swal2-popup", { hasText: "Task deleted" }).waitFor();
  expect(await moving()).toBe(0);
  await page.getByRole("button", { name: "Undo" }).click();
  await page.getByRole("article", { name: "Sweep the stairs" }).waitFor();
});

test("everything by keyboard alone", async ({ visitor }) => {
  await api.createTask("Water the plants");
  const page = await visitor.open();
  await page.getByRole("article", { name: "Water the plants" }).waitFor();
  const focused = () =>
    page.evaluate(
      () => document.activeElement?.getAttribute("aria-label") ?? document.activeElement?.textContent ?? "",
    );
  const tabTo = async (name: string) => {
    for (let presses = 0; presses < 40; presses++) {
      await page.keyboard.press("Tab");
      if ((await focused()).includes(name)) return;
    }
    throw new Error(`Tab does not come to ${name}`);
  };
  await tabTo("Skip to the content");
  await page.keyboard.press("Enter");
  await tabTo("New task");
  await page.keyboard.type("Call Ann");
  await page.keyboard.press("Enter");
  await page.getByRole("article", { name: "Call Ann" }).waitFor();
  await tabTo("Completed: Call Ann");
  await page.keyboard.press("Space");
  await page.locator(".swal2-popup", { hasText: "Task completed" }).waitFor();
  await page.getByRole("article", { name: "Call Ann" }).waitFor({ state: "detached" });
  // The focus goes on to the next row.
  await expect.poll(focused).toMatch(/^Completed: /);
  await tabTo("Delete Water the plants");
  await page.keyboard.press("Enter");
  await page.locator(".swal2-popup", { hasText: "Task deleted" }).waitFor();
  await page.keyboard.press("Control+z");
  await page.getByRole("article", { name: "Water the plants" }).waitFor();
});
