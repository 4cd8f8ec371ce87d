// Where the keyboard continues when the row that has the focus goes.

/** The checkbox of the row after that of the focused element, or before it; the page's content where there is none. */
export function nextOfFocused(): HTMLElement | null {
  const row = document.activeElement?.closest("li");
  if (!row) return null;
  const next = row.nextElementSibling ?? row.previousElementSibling;
  return next?.querySelector<HTMLElement>("input[type=checkbox]") ?? document.getElementById("main");
}
