// Sign-in with API tokens and with JWTs: asked for, kept, shared by tabs, and forgotten.
import { execFile } from "node:child_process";
import { createHmac, randomUUID } from "node:crypto";
import { promisify } from "node:util";
import type { Locator, Page } from "playwright-core";
import { beforeAll, describe, expect } from "vitest";
import { PYTHON, ROOT, startApi, type Api } from "./support/api";
import { expectAccessible } from "./support/axe";
import { test, type Visitor } from "./support/browser";
import { apiUrl, pageUrl } from "./support/place";

const field = (page: Page) => page.getByLabel("Token");
const heading = (page: Page) => page.getByRole("heading", { name: "Sign in" });
const live = (page: Page) => page.getByRole("status").getByText("Live", { exact: true });
const signOut = (page: Page) => page.getByRole("button", { name: "Sign out" });

async function signIn(page: Page, token: string): Promise<void> {
  await field(page).fill(token);
  await field(page).press("Enter");
}

/** A token is where it should be: in this tab's session storage, and nowhere that outlives the tabs. */
async function expectKeptInSession(visitor: Visitor, page: Page, token: string): Promise<void> {
  expect(await page.evaluate(() => Object.entries(sessionStorage))).toEqual([["taskapi-token", token]]);
  expect(await page.evaluate(() => localStorage.length)).toBe(0);
  expect(await page.evaluate(async () => (await indexedDB.databases()).length + (await caches.keys()).length)).toBe(0);
  expect(await visitor.context.cookies()).toEqual([]);
  expect(visitor.requests.filter((url) => url.includes(token))).toEqual([]);
}

describe("with API_TOKENS", () => {
  const TOKEN = "a secret of ann's";

  let api: Api;
  beforeAll(async () => {
    api = await startApi({ env: { API_TOKENS: `ann:${TOKEN},ben:another` } });
    await api.createTask("Buy milk", { token: TOKEN });
    return () => api.stop();
  });

  test("the page asks for a token, refuses a wrong one, and opens with the right one", async ({ visitor }) => {
    const page = await visitor.open();
    await heading(page).waitFor();
    expect(await page.getByRole("alert").count()).toBe(0);
    expect(await field(page).evaluate((element) => element === document.activeElement)).toBe(true);
    await expectAccessible(page);

    await signIn(page, "wrong");
    await page.getByRole("alert").getByText("did not accept the token").waitFor();
    expect(await field(page).getAttribute("aria-invalid")).toBe("true");
    await expectAccessible(page);

    await signIn(page, TOKEN);
    await live(page).waitFor();
    await page.getByText("Buy milk").waitFor();
    await page.getByText("API token", { exact: true }).waitFor();
    expect(await heading(page).count()).toBe(0);
  });

  test("a pasted header is taken for its token", async ({ visitor }) => {
    const page = await visitor.open();
    await signIn(page, `  bearer ${TOKEN} `);
    await live(page).waitFor();
  });

  test("the token survives a reload, and is in this tab's session storage only", async ({ visitor }) => {
    const page = await visitor.open();
    await signIn(page, TOKEN);
    await live(page).waitFor();
    await page.reload();
    await live(page).waitFor();
    await expectKeptInSession(visitor, page, TOKEN);
  });

  test("tabs of one browser share the token, and sign out together", async ({ visitor }) => {
    const first = await visitor.open();
    await signIn(first, TOKEN);
    await live(first).waitFor();
    const second = await visitor.open("/history");
    await signOut(second).waitFor();
    await live(second).waitFor();
    await expectKeptInSession(visitor, second, TOKEN);

    await signOut(second).click();
    for (const page of [first, second]) {
      await heading(page).waitFor();
      expect(await page.getByText("Buy milk").count()).toBe(0);
      expect(await page.evaluate(() => sessionStorage.length)).toBe(0);
      await page.reload();
      await heading(page).waitFor();
    }
    // A new one has nobody to ask.
    await heading(await visitor.open()).waitFor();

    await signIn(first, TOKEN);
    for (const page of [first, second]) await live(page).waitFor();
  });

  test("another browser has to sign in itself", async ({ visitor, newVisitor }) => {
    const page = await visitor.open();
    await signIn(page, TOKEN);
    await live(page).waitFor();
    const other = await newVisitor();
    await heading(await other.open()).waitFor();
  });
});

describe("with JWT_SECRET", () => {
  const JWT_SECRET = randomUUID() + randomUUID();

  /** A JWT that is valid for so many seconds, signed as an identity provider would. */
  function jwt(sub: string, seconds: number): string {
    const now = Math.floor(Date.now() / 1000);
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const signed = `${part({ alg: "HS256", typ: "JWT" })}.${part({ sub, iat: now, exp: now + seconds })}`;
    return `${signed}.${createHmac("sha256", JWT_SECRET).update(signed).digest("base64url")}`;
  }

  let api: Api;
  beforeAll(async () => {
    api = await startApi({ env: { JWT_SECRET, JWT_LEEWAY: "0" } });
    for (const owner of ["ann", "ben"]) await api.createTask(`A task of ${owner}`, { token: jwt(owner, 60) });
    return () => api.stop();
  });

  test("the header says whose list it is, and nobody sees another's", async ({ visitor }) => {
    // As `make token SUB=ann` prints it.
    const made = await promisify(execFile)(PYTHON, ["-m", "taskapi.token", "ann"], {
      cwd: ROOT,
      env: { PATH: process.env["PATH"], ENV_FILE: "", JWT_SECRET },
    });
    const page = await visitor.open();
    await signIn(page, made.stdout);
    await page.getByText("ann’s list").waitFor();
    await page.getByText("A task of ann").waitFor();

    await signOut(page).click();
    await signIn(page, jwt("ben", 60));
    await page.getByText("ben’s list").waitFor();
    await page.getByText("A task of ben").waitFor();
    expect(await page.getByText("A task of ann").count()).toBe(0);
  });

  test("a token that expires while the page is open leads back to the sign-in, in every tab", async ({ visitor }) => {
    const first = await visitor.open();
    await signIn(first, jwt("ann", 5));
    await live(first).waitFor();
    const second = await visitor.open();
    await signOut(second).waitFor();
    for (const page of [first, second]) await page.getByText("may be wrong, or have expired").waitFor();

    // A new token in one of them is enough.
    await signIn(second, jwt("ann", 60));
    for (const page of [first, second]) await page.getByText("A task of ann").waitFor();
  });

  test("what is typed while the token expires is there again after the sign-in", async ({ visitor }) => {
    const page = await visitor.open();
    await signIn(page, jwt("ann", 5));
    await live(page).waitFor();
    await page.getByRole("textbox", { name: "New task" }).fill("Half of a th");
    await page.getByText("may be wrong, or have expired").waitFor();
    await signIn(page, jwt("ann", 60));
    expect(await page.getByRole("textbox", { name: "New task" }).inputValue()).toBe("Half of a th");
    // It is not for somebody else.
    await signOut(page).click();
    await signIn(page, jwt("ben", 60));
    expect(await page.getByRole("textbox", { name: "New task" }).inputValue()).toBe("");
  });

  test("the header has room for all that it may have to say, and trouble has a colour of its own", async ({
    visitor,
  }) => {
    const page = await visitor.open();
    await signIn(page, jwt("ann-of-the-very-long-name@example.com", 60));
    await live(page).waitFor();
    const colour = (of: Locator) => of.evaluate((element) => getComputedStyle(element).color);
    const good = await colour(live(page));
    await visitor.context.setOffline(true);
    await page.getByRole("textbox", { name: "New task" }).fill("Buy milk");
    await page.keyboard.press("Enter");
    const waiting = page.getByText("A change waits for the service");
    await waiting.waitFor();
    expect(await colour(waiting)).not.toBe(good);
    for (const width of [375, 800, 1280]) {
      await page.setViewportSize({ width, height: 800 });
      const overhang = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      expect(overhang, `at ${width} px`).toBeLessThanOrEqual(0);
      expect((await signOut(page).boundingBox())?.x).toBeLessThan(width - 40);
    }
    await visitor.context.setOffline(false);
    await page.getByText("Saved", { exact: true }).waitFor();
  });

  test("a token of another secret is none", async ({ visitor }) => {
    const page = await visitor.open();
    await signIn(page, jwt("ann", 60).replace(/.{5}$/, "AAAAA"));
    await page.getByRole("alert").waitFor();
    expect(new Set(visitor.requests.map((url) => new URL(url).origin))).toEqual(new Set([pageUrl, apiUrl]));
  });
});
