// A real Chromium that finds no host but this machine, and visitors in it.
//
//   import { test } from "./support/browser";
//   test("…", async ({ visitor }) => {            // `newVisitor()` for more than one: each has storage of their own
//     const page = await visitor.open("/history"); // a tab; the next open() is another tab of the same browser
//     await page.getByText("Live").waitFor();
//   });
//
// At the end of each test, every visitor must have asked nobody but the page's origin and the API (`nothingOutside`).
// Where a test fails, the paths of screenshots are printed.
import { accessSync, constants, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { chromium, type BrowserContext, type BrowserContextOptions, type Page } from "playwright-core";
import { test as base } from "vitest";
import { apiUrl, pageUrl } from "./place";

const NAMES = ["chromium", "chromium-browser", "google-chrome"];

const OPTIONS = [
  "--no-sandbox", // It refuses root otherwise; and it only ever shows our own pages.
  "--disable-gpu",
  "--no-first-run",
  "--no-proxy-server",
  "--disable-background-networking",
  "--disable-dev-shm-usage",
  "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE localhost , EXCLUDE 127.0.0.1",
];

const DEFAULTS: BrowserContextOptions = {
  locale: "en-GB",
  // Its midnight is not that of UTC, and it has clock changes.
  timezoneId: "Europe/Berlin",
  viewport: { width: 1280, height: 900 },
};

export const test = base
  // eslint-disable-next-line no-empty-pattern -- Vitest wants the pattern.
  .extend("browser", { scope: "worker" }, async ({}, { onCleanup }) => {
    const browser = await chromium.launch({ executablePath: chromiumProgram(), args: OPTIONS });
    onCleanup(() => browser.close());
    return browser;
  })
  /** Makes one who shares nothing with the others; with other options, such as `timezoneId` or `viewport`. */
  .extend("newVisitor", ({ browser, task }, { onCleanup }) => {
    const visitors: Visitor[] = [];
    onCleanup(async () => {
      if (task.result?.state === "fail") for (const visitor of visitors) await visitor.tell(task.name);
      for (const visitor of visitors) await visitor.context.close();
      for (const visitor of visitors) visitor.nothingOutside();
    });
    return async (options: BrowserContextOptions = {}): Promise<Visitor> => {
      const visitor = new Visitor(await browser.newContext({ ...DEFAULTS, ...options }));
      visitors.push(visitor);
      return visitor;
    };
  })
  /** Somebody with one browser, whose tabs share what tabs of a browser share. */
  .extend("visitor", ({ newVisitor }) => newVisitor());

export class Visitor {
  readonly context: BrowserContext;
  /** The address of every request, in their order. */
  readonly requests: string[] = [];
  /** Errors and warnings of the console. Those of requests that fail are among them. */
  readonly console: string[] = [];
  /** What no code has caught. */
  readonly errors: string[] = [];

  constructor(context: BrowserContext) {
    this.context = context;
    context.setDefaultTimeout(20_000);
    context.on("request", (request) => this.requests.push(request.url()));
    context.on("console", (message) => {
      if (["error", "warning", "assert"].includes(message.type())) this.console.push(message.text());
    });
    context.on("weberror", (error) => this.errors.push(error.error().stack ?? error.error().message));
  }

  /** Opens a page of the frontend in a new tab. */
  async open(path = "/"): Promise<Page> {
    const page = await this.context.newPage();
    await page.goto(pageUrl + path);
    return page;
  }

  /** Fails where a page has asked anybody but its own origin and the API, or had an error that no code caught. */
  nothingOutside(): void {
    const ours = [pageUrl, apiUrl];
    const outside = this.requests.filter((url) => !url.startsWith("data:") && !ours.includes(new URL(url).origin));
    const wrong = [...outside.map((url) => `the page asked ${url}`), ...this.errors];
    if (wrong.length > 0) throw new Error(wrong.join("\n"));
  }

  /** Prints what the visitor saw, for who looks for the reason of a failure. */
  async tell(test: string): Promise<void> {
    const folder = mkdtempSync(join(tmpdir(), "taskapi-failed-"));
    const lines = [`FAILED ${test}`];
    for (const [number, page] of this.context.pages().entries()) {
      const path = join(folder, `tab-${number + 1}.png`);
      // A page that hangs has no picture.
      const isTaken = await page.screenshot({ path, timeout: 5000 }).then(
        () => true,
        () => false,
      );
      lines.push(`${page.url()} ${isTaken ? path : "(no screenshot)"}`);
    }
    console.log([...lines, ...this.errors, ...this.console.slice(-20)].join("\n"));
  }
}

/** The browser's program: $CHROMIUM, or what is in the PATH. */
function chromiumProgram(): string {
  const given = process.env["CHROMIUM"];
  if (given !== undefined && given !== "") return given;
  for (const name of NAMES) {
    for (const folder of (process.env["PATH"] ?? "").split(delimiter)) {
      const program = join(folder, name);
      try {
        accessSync(program, constants.X_OK);
        return program;
      } catch {
        // Not here.
      }
    }
  }
  throw new Error("chromium is not installed: apt-get install chromium");
}
