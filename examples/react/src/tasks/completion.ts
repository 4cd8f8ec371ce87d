// Completes and reopens tasks: the wish shows at once, and is taken back if the API refuses it.
import { ApiError } from "../api/client";
import type { Task } from "../api/client";
import { changes } from "../live/memory";
import { showError, showPopup } from "../popups/popups";
import { session } from "../session/session";
import { Store, useStore } from "../ui/store";
import { nextOfFocused } from "./focus";
import { completeTask, type Written } from "./writes";

/** Milliseconds that a row stays in its list after the last click, for second thoughts. */
const LINGERS = 1200;

interface Wish {
  title: string;
  wanted: boolean;
  /** What the database has, as far as we know. */
  actual: boolean;
  isSending: boolean;
  timer: ReturnType<typeof setTimeout> | undefined;
}

const wishes = new Store<ReadonlyMap<string, Wish>>(new Map());

/** What the person wants of tasks, by their ids, while it is on its way. It wins over what the lists have. */
export const useWishes = (): ReadonlyMap<string, Wish> => useStore(wishes);

function setWish(id: string, wish: Wish | null): void {
  const next = new Map(wishes.get());
  if (wish) next.set(id, wish);
  else next.delete(id);
  wishes.set(next);
}

/** However quick the clicks are, one request is under way, and the last wish is what is written in the end. */
export function setCompleted({ id, title, is_completed }: Task, wanted: boolean): void {
  const earlier = wishes.get().get(id);
  const wish = earlier ?? { title, actual: is_completed, isSending: false, timer: undefined };
  clearTimeout(wish.timer);
  // Once for each wish: `settle` releases once.
  if (!earlier) changes.hold(id);
  setWish(id, { ...wish, wanted });
  if (!wish.isSending) void send(id);
}

async function send(id: string): Promise<void> {
  let written: Written | null = null;
  try {
    for (let wish = wishes.get().get(id); wish && wish.wanted !== wish.actual; wish = wishes.get().get(id)) {
      setWish(id, { ...wish, isSending: true });
      written = await completeTask(id, wish.wanted);
      const later = wishes.get().get(id);
      if (later) setWish(id, { ...later, actual: wish.wanted });
    }
  } catch (error) {
    const wish = wishes.get().get(id);
    if (wish) showError(error, `“${wish.title}” is not ${wish.wanted ? "completed" : "reopened"}`);
    settle(id);
    // It was deleted, and the list does not know yet.
    if (error instanceof ApiError && error.status === 404) changes.missing(id);
    return;
  }
  const wish = wishes.get().get(id);
  if (!wish) return;
  setWish(id, { ...wish, isSending: false, timer: setTimeout(() => settle(id), LINGERS) });
  if (written) {
    const { task, popup } = written;
    showPopup(popup, task.title, () => setCompleted(task, !task.is_completed));
  }
}

/** From here on the row shows what the list has. */
function settle(id: string): void {
  const next = nextOfFocused();
  clearTimeout(wishes.get().get(id)?.timer);
  setWish(id, null);
  changes.release(id);
  // Where the row goes with the focus, who uses the keyboard continues on the next one.
  requestAnimationFrame(() => {
    if (document.activeElement === document.body) next?.focus({ preventScroll: true });
  });
}

session.onOther((isSamePerson) => {
  if (!isSamePerson) for (const id of wishes.get().keys()) settle(id);
});
