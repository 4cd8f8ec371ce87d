// What a browser has to load: at most 250 kB, compressed, and the charts only with the page that shows them.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, expect, inject } from "vitest";
import { startApi, type Api } from "./support/api";
import { test } from "./support/browser";

let api: Api;
beforeAll(async () => {
  api = await startApi();
});
afterAll(() => api.stop());

test("without the statistics, the bundle is at most 250 kB gzipped", () => {
  const folder = join(inject("buildFolder"), "assets");
  const sizes = readdirSync(folder).map((name) => [name, gzipSync(readFileSync(join(folder, name))).length] as const);
  const sum = (chosen: typeof sizes) => chosen.reduce((total, [, size]) => total + size, 0);
  const others = sum(sizes.filter(([name]) => !name.startsWith("statistics")));
  const figures = [...sizes, ["without the statistics", others], ["in all", sum(sizes)]] as const;
  console.log(figures.map(([name, size]) => `${name} ${size}`).join("\n"));
  expect(others).toBeLessThanOrEqual(250_000);
});

test("each page is loaded when it is opened", async ({ visitor }) => {
  const page = await visitor.open();
  await page.getByText("Live", { exact: true }).waitFor();
  const loaded = () => visitor.requests.filter((url) => /statistics-page.*\.js/.test(url)).length;
  expect(loaded()).toBe(0);
  await page.getByRole("link", { name: "Statistics" }).click();
  await page.getByRole("heading", { level: 1, name: "Statistics" }).waitFor();
  expect(loaded()).toBe(1);
});
