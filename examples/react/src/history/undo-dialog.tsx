// Asks before it undoes: what would happen, and what would not. Then it does it.
import { useMutation, useQuery } from "@tanstack/react-query";
import { useEffect, useRef, type ReactNode } from "react";
import { ApiError, type Undone } from "../api/client";
import { useSaving } from "../api/saving";
import { changes } from "../live/memory";
import { showError, showPopup } from "../popups/popups";
import { Dialog } from "../ui/dialog";
import { previewUndo, undo, type Chosen, type Preview } from "./undo";

interface Props {
  title: string;
  chosen: Chosen;
  /** The buttons that undo: everything, or all but the conflicts. */
  undoAll: string;
  undoRest: string;
  /** What the person is told afterwards. */
  done: (undone: Undone) => string;
  onClose: () => void;
  /** What to do where so much was chosen that the API refuses. */
  tooMuch?: string;
  /** What can be chosen above the preview. */
  choice?: ReactNode;
  children: (preview: Preview) => ReactNode;
}

export function UndoDialog({ title, chosen, undoAll, undoRest, done, onClose, tooMuch, choice, children }: Props) {
  const isOpen = useRef(false);
  useEffect(() => {
    isOpen.current = true;
    return () => void (isOpen.current = false);
  }, []);

  const preview = useQuery({
    queryKey: ["undo", chosen],
    queryFn: ({ signal }) => previewUndo(chosen, signal),
    gcTime: 0,
  });
  const doing = useMutation({
    mutationFn: ({ chosen, undone }: Preview) => undo(chosen, undone.conflicts.length > 0),
    onSuccess(undone) {
      changes.learn(undone.changes);
      if (isOpen.current) onClose();
      showPopup("TASK_RESTORED", done(undone));
    },
    onError(error) {
      if (!isOpen.current) showError(error, "Not undone");
      else if (isConflict(error)) void preview.refetch();
    },
  });

  const shown = preview.isFetching ? undefined : preview.data;
  const canUndo = shown !== undefined && shown.undone.changes.length > 0;
  return (
    <Dialog
      wide
      title={title}
      onClose={onClose}
      actions={
        <>
          <button type="button" onClick={onClose}>
            {canUndo || preview.isFetching ? "Cancel" : "Close"}
          </button>
          {canUndo && (
            <button
              type="button"
              className="primary"
              aria-disabled={doing.isPending}
              onClick={() => {
                if (!doing.isPending) doing.mutate(shown);
              }}
            >
              {doing.isPending ? "Undoing…" : shown.undone.conflicts.length > 0 ? undoRest : undoAll}
            </button>
          )}
        </>
      }
    >
      {choice}
      {doing.isError && (
        <Refusal>
          {isConflict(doing.error)
            ? "Somebody has changed this in the meantime, and nothing was undone. This is what would happen now:"
            : `Nothing was undone. ${doing.error.message}`}
        </Refusal>
      )}
      <State isFetching={preview.isFetching} failures={preview.failureCount} />
      {!preview.isFetching && preview.isError && (
        <Refusal>
          {preview.error.message} {isTooMuch(preview.error) && tooMuch}
        </Refusal>
      )}
      {shown && children(shown)}
    </Dialog>
  );
}

const isConflict = (error: Error) => error instanceof ApiError && error.status === 409;
const isTooMuch = (error: Error) => error instanceof ApiError && error.status === 422;

function Refusal({ children }: { children: ReactNode }) {
  return (
    <p role="alert" className="notice long">
      {children}
    </p>
  );
}

function State({ isFetching, failures }: { isFetching: boolean; failures: number }) {
  const { waiting } = useSaving();
  const text =
    waiting > 0 || (isFetching && failures > 0)
      ? "The service does not answer. This goes on as soon as it does."
      : isFetching
        ? "Looking at what would happen…"
        : "";
  return (
    <p role="status" className="hint undo-state">
      {text}
    </p>
  );
}
