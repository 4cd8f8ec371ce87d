// Looks for what axe-core finds in a page, in both colour schemes.
//
//   await expectAccessible(page);                            // as it is now: open dialogs and menus before
//   await expectAccessible(page, { within: "dialog" });      // only of a part, by a CSS selector
import axe from "axe-core";
import type { Page } from "playwright-core";

const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

export async function expectAccessible(page: Page, { within }: { within?: string } = {}): Promise<void> {
  await page.evaluate(`if (!("axe" in window)) { ${axe.source} }`);
  const found: string[] = [];
  for (const colorScheme of ["light", "dark"] as const) {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    await page.evaluate(endOfTransitions);
    const { violations } = await page.evaluate(
      ({ within, rules }) =>
        (window as unknown as { axe: typeof axe }).axe.run(within ?? document, {
          runOnly: rules,
          resultTypes: ["violations"],
        }),
      { within: within ?? null, rules: RULES },
    );
    for (const { id, help, nodes } of violations) {
      for (const { target, html, failureSummary } of nodes) {
        found.push(`${id} (${colorScheme}): ${help}\n  ${target.join(" ")}\n  ${html}\n  ${failureSummary ?? ""}`);
      }
    }
  }
  await page.emulateMedia({ colorScheme: null, reducedMotion: null });
  if (found.length > 0) throw new Error(`${found.length} violations in ${page.url()}:\n\n${found.join("\n\n")}`);
}

/** In the page: colours that are on their way are not looked at. What goes on for longer is no transition. */
async function endOfTransitions(): Promise<void> {
  const isShort = (animation: Animation) => Number(animation.effect?.getComputedTiming().endTime) < 2000;
  await new Promise(requestAnimationFrame);
  const running = document.getAnimations().filter(isShort);
  await Promise.allSettled(running.map(({ finished }) => finished));
}
