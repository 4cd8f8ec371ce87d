// Measures a list of ten thousand tasks in a real browser, and prints what it found. Nothing else should run meanwhile.
import type { Page } from "playwright-core";
import { afterAll, beforeAll, expect } from "vitest";
import { startApi, type Api } from "../browser/support/api";
import { test } from "../browser/support/browser";

const COUNT = 10_000;
const ROUNDS = 5;

let api: Api;
beforeAll(async () => {
  api = await startApi();
  await api.fill(COUNT);
});
afterAll(() => api.stop());

const median = (numbers: number[]) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? NaN;

/** Milliseconds from the answer with the first tasks to the frame that shows them. */
async function firstPaint(page: Page): Promise<number> {
  return page.evaluate(async () => {
    const frame = () => new Promise<number>(requestAnimationFrame);
    while (document.querySelector("article") === null) await frame();
    const painted = await frame();
    const answers = performance
      .getEntriesByType("resource")
      .filter(({ name }) => name.includes("limit=200")) as PerformanceResourceTiming[];
    return painted - Math.min(...answers.map(({ responseEnd }) => responseEnd));
  });
}

/** Scrolls by wheel for some seconds. Returns frames a second, the longest frame in milliseconds, and most rows. */
async function scroll(page: Page): Promise<{ rate: number; longest: number; rows: number }> {
  const measured = page.evaluate(async () => {
    const frame = () => new Promise<number>(requestAnimationFrame);
    const begin = await frame();
    let last = begin;
    let frames = 0;
    let longest = 0;
    let rows = 0;
    while (last - begin < 4000) {
      const now = await frame();
      frames += 1;
      longest = Math.max(longest, now - last);
      last = now;
      if (frames % 10 === 0) rows = Math.max(rows, document.querySelectorAll("article").length);
    }
    return { rate: (frames * 1000) / (last - begin), longest, rows };
  });
  const scrolling = new AbortController();
  void measured.finally(() => scrolling.abort());
  // As quickly as the browser takes them: more than a hand does.
  while (!scrolling.signal.aborted) await page.mouse.wheel(0, 120);
  return measured;
}

test("ten thousand tasks", { timeout: 300_000 }, async ({ newVisitor }) => {
  const paints: number[] = [];
  const scrolls: { rate: number; longest: number; rows: number }[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const visitor = await newVisitor();
    const page = await visitor.open();
    paints.push(await firstPaint(page));
    await page.mouse.move(600, 500);
    scrolls.push(await scroll(page));
    await page.close();
  }
  const rate = median(scrolls.map((each) => each.rate));
  const rows = Math.max(...scrolls.map((each) => each.rows));
  console.log(
    [
      `${COUNT} tasks, ${ROUNDS} rounds, medians:`,
      `  first paint after the answer  ${median(paints).toFixed(0)} ms (goal: less than 1000)`,
      `  scrolling                     ${rate.toFixed(1)} frames a second (goal: at least 50)`,
      `  longest frame                 ${median(scrolls.map((each) => each.longest)).toFixed(0)} ms`,
      `  rows in the page              at most ${rows}`,
    ].join("\n"),
  );
  expect(median(paints)).toBeLessThan(1000);
  expect(rate).toBeGreaterThanOrEqual(50);
});
