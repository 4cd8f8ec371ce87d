// What the person sees of writes: saving, waiting for the service, saved.
import { Store, useStore } from "../ui/store";

export interface Saving {
  /** Writes without an answer yet. */
  pending: number;
  /** Of those, the ones that wait to be sent again. */
  waiting: number;
  /** Whether the last write that ended was saved. */
  saved: boolean;
}

const store = new Store<Saving>({ pending: 0, waiting: 0, saved: false });
const wakers = new Set<() => void>();

function change(next: Partial<Saving>): void {
  store.set({ ...store.get(), ...next });
}

export const saving = {
  /** A write begins. Call what is returned when it ends; only the first call counts. */
  begin(): (end: "saved" | "refused") => void {
    let ended = false;
    change({ pending: store.get().pending + 1, saved: false });
    return (end) => {
      if (ended) return;
      ended = true;
      change({ pending: store.get().pending - 1, saved: end === "saved" });
    };
  },

  /** Waits before a write is sent again: so many seconds, or until `wake`. */
  async wait(seconds: number): Promise<void> {
    change({ waiting: store.get().waiting + 1 });
    await new Promise<void>((resolve) => {
      const timer = setTimeout(end, seconds * 1000);
      function end() {
        clearTimeout(timer);
        wakers.delete(end);
        resolve();
      }
      wakers.add(end);
    });
    change({ waiting: store.get().waiting - 1 });
  },

  /** The service answers again: whatever waits is sent now. */
  wake(): void {
    for (const waker of [...wakers]) waker();
  },
};

export const useSaving = (): Saving => useStore(store);

// A page that is left with unsaved writes asks first.
window.addEventListener("beforeunload", (event) => {
  if (store.get().pending > 0) event.preventDefault();
});
window.addEventListener("online", () => saving.wake());
