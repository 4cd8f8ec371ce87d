// Undoes one change of a task.
import type { HistoryEntry } from "../api/client";
import { Conflicts } from "./conflicts";
import { Difference } from "./difference";
import { useBeforeAndAfter } from "./entries";
import type { Preview } from "./undo";
import { UndoDialog } from "./undo-dialog";

export function UndoChange({ entry, onClose }: { entry: HistoryEntry; onClose: () => void }) {
  return (
    <UndoDialog
      title="Undo this change"
      chosen={{ task_id: entry.task_id, version: entry.version }}
      undoAll="Undo"
      undoRest="Undo the rest"
      done={({ changes }) => changes[0]?.task?.title ?? entry.task_title}
      onClose={onClose}
    >
      {(preview) => <Plan entry={entry} preview={preview} />}
    </UndoDialog>
  );
}

function Plan({ entry, preview }: { entry: HistoryEntry; preview: Preview }) {
  const { changes, conflicts } = preview.undone;
  const [change] = changes;
  if (!change && conflicts.length === 0) {
    return <p>There is nothing to undo: this change is undone already.</p>;
  }
  return (
    <>
      {conflicts.length > 0 && (
        <section className="undo-section undo-conflicts">
          <h3>{change ? "This part stays as it is" : "This cannot be undone"}</h3>
          <Conflicts conflicts={conflicts} />
          <p className="hint">To undo it all the same, undo the later change first.</p>
        </section>
      )}
      {change && (
        <section className="undo-section">
          <h3>What will happen</h3>
          <Outcome change={change} title={entry.task_title} />
        </section>
      )}
    </>
  );
}

/** The task as it is, and as it will be. */
function Outcome({ change, title }: { change: Preview["undone"]["changes"][number]; title: string }) {
  const now = useBeforeAndAfter(change.task_id, change.version - 1);
  if (now.isPending) return <p className="hint">Loading…</p>;
  // The sentence of the API says it, too.
  if (now.isError) return <p className="long">{change.description}</p>;
  const before = now.data.after;
  return (
    <>
      <p className="long">
        <strong>
          <bdi>{change.task?.title ?? before?.title ?? title}</bdi>
        </strong>{" "}
        {change.task === null
          ? "will be deleted. The history keeps it, so that you can bring it back."
          : before === null
            ? "will be there again."
            : "will change like this:"}
      </p>
      <Difference before={before} after={change.task} />
    </>
  );
}
