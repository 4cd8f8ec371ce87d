// Answers that get lost, an API that is killed, a network that is gone: nothing is lost, nothing is doubled.
import { connect, createServer, type Server, type Socket } from "node:net";
import { once } from "node:events";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, beforeEach, expect } from "vitest";
import { startApi, type Api } from "./support/api";
import { test } from "./support/browser";
import { apiUrl, pageUrl } from "./support/place";

/** Behind the address that the page knows. Connections through it can be made to die as those of a sleeping laptop do. */
class Line {
  readonly port = 30_000 + Math.floor(Math.random() * 2_000);
  readonly #open = new Set<Socket>();
  readonly #streams = new WeakSet<Socket>();
  #server: Server = createServer((socket) => {
    const api = connect(this.port, "127.0.0.1");
    this.#open.add(socket);
    for (const [one, other] of [
      [socket, api],
      [api, socket],
    ] as const) {
      one.on("data", (chunk) => {
        if (/^accept: text\/event-stream/im.test(chunk.toString("latin1"))) this.#streams.add(socket);
        if (this.#open.has(socket)) other.write(chunk);
      });
      one.on("error", () => undefined);
      one.on("close", () => {
        this.#open.delete(socket);
        other.destroy();
      });
    }
  });

  async start(): Promise<void> {
    this.#server.listen(Number(new URL(apiUrl).port), "127.0.0.1");
    await once(this.#server, "listening");
  }

  /** From now on nothing goes through the streams that are open, and neither side is told. */
  goSilent(): void {
    for (const socket of this.#open) if (this.#streams.has(socket)) this.#open.delete(socket);
  }

  stop(): void {
    this.#server.close();
  }
}

const line = new Line();
let api: Api;
beforeAll(async () => {
  await line.start();
  api = await startApi({ env: { PORT: String(line.port) } });
});
afterAll(async () => {
  await api.stop();
  line.stop();
});
beforeEach(() => api.deleteTasks());

const titles = async () => (await api.tasks()).map(({ title }) => title).sort();
const isSaved = (page: Page) => page.getByText("Saved", { exact: true }).waitFor();

async function add(page: Page, title: string): Promise<void> {
  await page.getByRole("textbox", { name: "New task" }).fill(title);
  await page.keyboard.press("Enter");
}

test("a write whose answer is lost is sent again with its key, and happens once", async ({ visitor }) => {
  const page = await visitor.open();
  await page.getByRole("heading", { name: "Nothing is open" }).waitFor();
  const keys: (string | undefined)[] = [];
  await page.route("**/api/v1/tasks", async (route) => {
    if (route.request().method() !== "POST") return route.continue();
    keys.push(route.request().headers()["idempotency-key"]);
    // It is written, and nobody hears of it.
    if (keys.length < 3) {
      await route.fetch();
      return route.abort("connectionreset");
    }
    return route.continue();
  });
  await add(page, "Buy milk");
  await page.getByText(/A change waits for the service|Saving…/).waitFor();
  await isSaved(page);
  expect(await titles()).toEqual(["Buy milk"]);
  expect(keys.length).toBe(3);
  expect(new Set(keys).size).toBe(1);
  expect(await page.getByRole("article").count()).toBe(1);
});

test("a redirected write, or one that a proxy answers, is not taken for saved", async ({ visitor }) => {
  const page = await visitor.open();
  await page.getByRole("heading", { name: "Nothing is open" }).waitFor();
  const headers = { "Access-Control-Allow-Origin": pageUrl };
  const strange = [
    { status: 302, headers: { ...headers, Location: `${apiUrl}/api/v1/tasks` } },
    { status: 200, headers, body: "" },
    { status: 200, headers, json: {} },
  ];
  let answers = 0;
  await page.route("**/api/v1/tasks", (route) => {
    const answer = route.request().method() === "POST" ? strange[answers++] : undefined;
    return answer ? route.fulfill(answer) : route.continue();
  });
  await add(page, "Buy milk");
  await isSaved(page);
  expect(await titles()).toEqual(["Buy milk"]);
  expect(answers).toBe(4);
});

test("a browser that keeps no data and gives no locks: the page works, and is live", async ({ visitor }) => {
  await visitor.context.addInitScript(() => {
    const denied = () => {
      throw new DOMException("Access is denied for this document.", "SecurityError");
    };
    for (const name of ["sessionStorage", "localStorage"]) Object.defineProperty(window, name, { get: denied });
    const refused = () => Promise.reject(new DOMException("The request was denied.", "SecurityError"));
    if ("locks" in navigator) navigator.locks.request = refused;
  });
  const page = await visitor.open();
  await page.getByText("Live", { exact: true }).waitFor();
  await api.createTask("Buy milk");
  await page.getByRole("article", { name: "Buy milk" }).waitFor();
});

test("an address that answers something else is no stream", async ({ visitor }) => {
  const page = await visitor.context.newPage();
  await page.route("**/api/v1/changes", (route) =>
    route.fulfill({ headers: { "Access-Control-Allow-Origin": pageUrl }, contentType: "text/html", body: "Welcome" }),
  );
  await page.goto(pageUrl);
  await page.getByText("No connection").waitFor();
  expect(await page.getByText("Live", { exact: true }).count()).toBe(0);
  await page.unroute("**/api/v1/changes");
  await page.getByText("Live", { exact: true }).waitFor();
});

test("the API is killed in the middle of writes and started again: the page recovers by itself", async ({
  visitor,
}) => {
  const page = await visitor.open();
  await page.getByText("Live", { exact: true }).waitFor();
  const wanted: string[] = [];
  for (const round of [1, 2]) {
    for (let number = 10; number < 30; number++) {
      wanted.push(`Round ${round}, task ${number}`);
      await add(page, wanted.at(-1) ?? "");
      if (number === 20) await api.kill();
    }
    await page.getByText(/wait for the service/).waitFor();
    await api.start();
    await isSaved(page);
    await page.getByText("Live", { exact: true }).waitFor();
  }
  expect(await titles()).toEqual(wanted.sort());
  await page.getByRole("link", { name: "Open 40" }).waitFor();
  await expect.poll(() => page.getByRole("listitem").first().getAttribute("aria-setsize")).toBe("40");
});

test("the API is killed in the middle of a completion", async ({ visitor }) => {
  const [task] = await api.createTasks(["Buy milk"]);
  const page = await visitor.open();
  const checkbox = page.getByRole("checkbox", { name: "Completed: Buy milk" });
  await checkbox.waitFor();
  await api.kill();
  await checkbox.click();
  expect(await checkbox.isChecked()).toBe(true);
  await page.getByText("A change waits for the service").waitFor();
  await api.start();
  await isSaved(page);
  expect((await api.call<{ is_completed: boolean }>("GET", `/tasks/${task?.id ?? ""}`)).is_completed).toBe(true);
});

test("a page that is opened while the API is down fills when it is back", async ({ visitor }) => {
  await api.createTask("Buy milk");
  await api.kill();
  const page = await visitor.open();
  await page.getByText("The service does not answer. Your tasks come when it does.").waitFor();
  await api.start();
  await page.getByRole("article", { name: "Buy milk" }).waitFor();
});

test("a network that is gone for a while", async ({ visitor }) => {
  const page = await visitor.open();
  await page.getByText("Live", { exact: true }).waitFor();
  await visitor.context.setOffline(true);
  await add(page, "Buy milk");
  await page.getByText("A change waits for the service").waitFor();
  expect(await titles()).toEqual([]);
  await visitor.context.setOffline(false);
  await isSaved(page);
  expect(await titles()).toEqual(["Buy milk"]);
});

test("a laptop that sleeps: the dead stream is noticed, and nothing of the night is missed", async ({ visitor }) => {
  const page = await visitor.context.newPage();
  await page.clock.install();
  await page.goto(pageUrl);
  await page.getByText("Live", { exact: true }).waitFor();
  line.goSilent();
  await api.createTask("Written at night");
  await page.clock.fastForward("08:00:00");
  await page.getByRole("article", { name: "Written at night" }).waitFor();
});

test("leaving the page while something is not saved asks first", async ({ visitor }) => {
  const page = await visitor.open();
  await page.getByText("Live", { exact: true }).waitFor();
  await visitor.context.setOffline(true);
  await add(page, "Buy milk");
  await page.getByText("A change waits for the service").waitFor();
  const asked = page.waitForEvent("dialog");
  const leaving = page.close({ runBeforeUnload: true });
  const dialog = await asked;
  expect(dialog.type()).toBe("beforeunload");
  await dialog.dismiss();
  await leaving;
  await visitor.context.setOffline(false);
  await isSaved(page);
  expect(await titles()).toEqual(["Buy milk"]);
});
