// What the person is told: a toast for each popup code, and one for each error.
import Swal from "sweetalert2";
import { ApiError, NoAnswer, SignedOut, type Popup } from "../api/client";

const TEXTS: Record<Popup, string> = {
  TASK_CREATED: "Task created",
  TASK_UPDATED: "Task updated",
  TASK_COMPLETED: "Task completed",
  TASK_INCOMPLETE: "Task reopened",
  TASK_DELETED: "Task deleted",
  TASK_RESTORED: "Restored",
};

/** Where the focus was before it went into the toast. */
let focusBefore: HTMLElement | null = null;

const toast = Swal.mixin({
  toast: true,
  position: "bottom-start",
  theme: "auto",
  showConfirmButton: false,
  timerProgressBar: true,
  // Whoever reads it, or is about to press its button, has the time to.
  didOpen(element) {
    for (const name of ["mouseenter", "focusin"]) element.addEventListener(name, () => void Swal.stopTimer());
    for (const name of ["mouseleave", "focusout"]) element.addEventListener(name, () => void Swal.resumeTimer());
    element.addEventListener("focusin", ({ relatedTarget: from }) => {
      if (from instanceof HTMLElement && !element.contains(from)) focusBefore = from;
    });
    element.addEventListener("focusout", ({ relatedTarget: to }) => {
      if (to instanceof HTMLElement && !element.contains(to)) focusBefore = null;
    });
  },
  // A pressed button is disabled, and then nothing has the focus.
  willClose() {
    focusBefore?.focus({ preventScroll: true });
    focusBefore = null;
  },
});

/** Shows what a write did. With `undo`, it can be taken back, by a button or by Ctrl+Z. */
export function showPopup(popup: Popup, detail?: string, undo?: () => void): void {
  const text = detail ?? "";
  if (!undo) {
    void toast.fire({ icon: "success", title: TEXTS[popup], text, timer: 3000 });
    return;
  }
  const onKey = (event: KeyboardEvent) => {
    const typing = (event.target as Element | null)?.closest(
      "input:not([type=checkbox], [type=radio], [type=range]), textarea, [contenteditable]",
    );
    if ((event.ctrlKey || event.metaKey) && event.key === "z" && !typing) Swal.clickConfirm();
  };
  document.addEventListener("keydown", onKey);
  void toast
    .fire({
      icon: "success",
      title: TEXTS[popup],
      text,
      showConfirmButton: true,
      confirmButtonText: "Undo",
      timer: 10_000,
      didDestroy: () => document.removeEventListener("keydown", onKey),
    })
    .then(({ isConfirmed }) => {
      if (isConfirmed) undo();
    });
}

/** Shows why something was not done: the API's sentence. */
export function showError(error: unknown, what: string): void {
  if (error instanceof SignedOut) return;
  if (error instanceof NoAnswer) {
    void toast.fire({ icon: "warning", title: what, text: error.message, timer: 8000 });
  } else if (error instanceof ApiError && error.status === 401) {
    void toast.fire({ icon: "warning", title: what, text: "Sign in, then try again.", timer: 8000 });
  } else if (error instanceof ApiError && error.status < 500) {
    void toast.fire({ icon: "error", title: what, text: error.message, timer: 8000 });
  } else {
    const id = error instanceof ApiError && error.requestId !== null ? ` (request ${error.requestId})` : "";
    const text = `${error instanceof Error ? error.message : String(error)}${id}`;
    void Swal.fire({ icon: "error", title: what, text, theme: "auto", confirmButtonText: "Close" });
  }
}
