// A modal dialog: the browser's own, which keeps the focus inside and gives it back.
import { useId, useLayoutEffect, useRef, type ReactNode } from "react";

interface Props {
  title: string;
  children: ReactNode;
  /** Buttons, the main one last. */
  actions: ReactNode;
  onClose: () => void;
  wide?: boolean;
}

export function Dialog({ title, children, actions, onClose, wide = false }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  // Before it leaves the page: an open dialog gives the focus back.
  useLayoutEffect(() => {
    const element = dialog.current;
    element?.showModal();
    return () => element?.close();
  }, []);
  return (
    <dialog
      ref={dialog}
      className={wide ? "dialog wide" : "dialog"}
      aria-labelledby={id}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
    >
      <h2 id={id}>{title}</h2>
      <div className="dialog-body">{children}</div>
      <div className="dialog-actions">{actions}</div>
    </dialog>
  );
}
