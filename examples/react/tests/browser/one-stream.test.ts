// All tabs of a browser are live over one stream: a browser has only six connections to an API by HTTP/1.1.
import type { BrowserContext, Page, Request } from "playwright-core";
import { beforeAll, expect } from "vitest";
import { startApi, type Api } from "./support/api";
import { test } from "./support/browser";

const TABS = 8;

let api: Api;
beforeAll(async () => {
  api = await startApi();
  return () => api.stop();
});

/** The streams that are open in a browser, as it sees them itself. */
class Streams {
  readonly #open = new Set<Request>();
  /** How many there have been at the same time. */
  most = 0;

  constructor(context: BrowserContext) {
    context.on("request", (request) => {
      if (!isStream(request)) return;
      this.#open.add(request);
      this.most = Math.max(this.most, this.#open.size);
    });
    for (const end of ["requestfinished", "requestfailed"] as const) {
      context.on(end as "requestfinished", (request) => this.#open.delete(request));
    }
    context.on("page", (page) =>
      page.on("close", () => {
        for (const request of this.#open) if (request.frame().page() === page) this.#open.delete(request);
      }),
    );
  }

  get count(): number {
    return this.#open.size;
  }

  /** The tab that follows the changes, for all. */
  get leader(): Page {
    const [request] = this.#open;
    if (!request) throw new Error("no stream is open");
    return request.frame().page();
  }
}

function isStream(request: Request): boolean {
  return request.url().includes("/api/v1/changes") && request.headers()["accept"] === "text/event-stream";
}

const live = (page: Page) => page.getByRole("status").getByText("Live", { exact: true });
const lost = (page: Page) => page.getByRole("status").getByText("No connection");
const waitForAll = (pages: Page[], what: typeof live) => Promise.all(pages.map((page) => what(page).waitFor()));

test("eight tabs share one stream, whichever is closed, and whatever happens to the API", async ({ visitor }) => {
  const streams = new Streams(visitor.context);
  let pages: Page[] = [];
  for (let number = 0; number < TABS; number++) pages.push(await visitor.open());
  // The last one does not wait for the next sign of the stream, which may take 15 s.
  await live(pages[TABS - 1] as Page).waitFor({ timeout: 5000 });
  await waitForAll(pages, live);
  await Promise.all(pages.map((page) => page.getByText("Nothing is open").waitFor()));

  // One that is written elsewhere is in all of them.
  await api.createTask("Written elsewhere");
  await Promise.all(pages.map((page) => page.getByText("Written elsewhere").waitFor()));
  expect(streams.count).toBe(1);

  // Another tab takes over.
  const closed = streams.leader;
  await closed.close();
  pages = pages.filter((page) => page !== closed);
  await expect.poll(() => streams.count, { timeout: 20_000 }).toBe(1);
  await api.createTask("Written after one was closed");
  await Promise.all(pages.map((page) => page.getByText("Written after one was closed").waitFor()));
  await waitForAll(pages, live);

  // A crash is seen, and nothing that is written before the tabs are back is missed.
  await api.kill();
  await waitForAll(pages, lost);
  await api.start();
  await api.createTask("Written before they were back");
  await waitForAll(pages, live);
  await Promise.all(pages.map((page) => page.getByText("Written before they were back").waitFor()));

  // A deploy is not even seen: the stream ends in order.
  await api.terminate();
  await api.start();
  await api.createTask("Written after a deploy");
  await Promise.all(pages.map((page) => page.getByText("Written after a deploy").waitFor()));
  await waitForAll(pages, live);

  expect(streams.count).toBe(1);
  expect(streams.most).toBe(1);
});
