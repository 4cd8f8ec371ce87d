// Takes the pictures of the README, of a `make demo` that has just begun. It changes a task of it.
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const PAGE = "http://localhost:3000";
const API = "http://localhost:8000/api/v1";

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--hide-scrollbars"],
});

/** Opens a page, has it prepared by `act`, and takes its picture. */
async function take(name, path, act = async () => undefined, options = {}) {
  const context = await browser.newContext({
    locale: "en-GB",
    viewport: { width: 1100, height: 760 },
    reducedMotion: "reduce",
    ...options,
  });
  const page = await context.newPage();
  await page.goto(PAGE + path);
  await page.getByText("Live", { exact: true }).waitFor();
  await page.waitForLoadState("load");
  await act(page);
  await page.waitForTimeout(800);
  await page.screenshot({ path: fileURLToPath(new URL(`${name}.png`, import.meta.url)) });
  await context.close();
}

await take("tasks", "/", async (page) => {
  await page.getByRole("article").first().waitFor();
});
await take("history", "/history?actor=agent-7", async (page) => {
  await page
    .getByRole("button", { name: /^agent-7 renamed/ })
    .first()
    .click();
  await page.locator("ins").first().waitFor();
});
await take("undo", "/history?actor=agent-7", async (page) => {
  await page.getByRole("button", { name: "Undo everything by agent-7…" }).click();
  await page.getByRole("button", { name: "Undo all but the conflicts" }).waitFor();
});
await take("time-machine", "/time-machine", async (page) => {
  await page.getByRole("slider", { name: "Time" }).fill("620");
  await page.getByText("The list as it was on").waitFor();
});
await take("statistics", "/statistics", async (page) => {
  await page.getByRole("heading", { name: "Day by day" }).waitFor();
});
await take("phone", "/", async (page) => page.getByRole("article").first().waitFor(), {
  viewport: { width: 375, height: 740 },
  deviceScaleFactor: 2,
  colorScheme: "dark",
});
await take("conflict", "/?text=winter", async (page) => {
  const { data } = await (await fetch(`${API}/tasks?text=winter&limit=1`)).json();
  const [task] = data;
  await page.getByRole("button", { name: `Edit ${task.title}` }).click();
  const title = page.getByRole("textbox", { name: "Title" });
  await page.waitForTimeout(500);
  await fetch(`${API}/tasks/${task.id}`, {
    method: "PUT",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ title: `${task.title}, and a place`, description: "Ask everybody by Monday." }),
  });
  await title.fill(`${task.title}: the 18th?`);
  await page.getByRole("textbox", { name: "Description" }).fill("Two have no time on the 11th.");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByRole("dialog").waitFor();
});
await browser.close();
