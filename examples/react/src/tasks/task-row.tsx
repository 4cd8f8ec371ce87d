// One task of the list: done or not, its texts, what can be done with it. Editing happens in its place.
import { memo } from "react";
import { Link } from "react-router";
import type { Task } from "../api/client";
import { showError, showPopup } from "../popups/popups";
import { HistoryIcon, PencilIcon, TrashIcon } from "../ui/icons";
import { Time } from "../ui/time";
import { setCompleted } from "./completion";
import { nextOfFocused } from "./focus";
import { TaskEditor } from "./task-editor";
import { deleteTask, undoChange } from "./writes";

interface Props {
  task: Task;
  /** What the person wants it to be, while that is on its way. */
  wish: boolean | undefined;
  isEdited: boolean;
  /** Something was typed, and neither saved nor given up. */
  hasDraft: boolean;
  /** `from`: closes the editor of this task only. */
  onEdit: (id: string | null, from?: string) => void;
}

export const TaskRow = memo(function TaskRow({ task, wish, isEdited, hasDraft, onEdit }: Props) {
  const isCompleted = wish ?? task.is_completed;

  if (isEdited) return <TaskEditor task={task} onClose={() => onEdit(null, task.id)} />;
  return (
    <article className={isCompleted ? "task completed" : "task"} aria-label={task.title}>
      <input
        type="checkbox"
        checked={isCompleted}
        onChange={() => setCompleted(task, !isCompleted)}
        aria-label={`Completed: ${task.title}`}
      />
      <div className="task-texts">
        <h2 className="long" dir="auto">
          {task.title}
        </h2>
        {task.description !== null && task.description !== "" && (
          <p className="description long" dir="auto">
            {task.description}
          </p>
        )}
      </div>
      <p className="hint">
        <span className="task-event">{task.completed_at === null ? "created " : "completed "}</span>
        <Time time={task.completed_at ?? task.created_at} /> {hasDraft && <span className="badge">Unsaved edit</span>}
      </p>
      <div className="task-actions">
        <button
          type="button"
          className="quiet round"
          data-edit={task.id}
          onClick={() => onEdit(task.id)}
          aria-label={`Edit ${task.title}`}
          title="Edit"
        >
          <PencilIcon />
        </button>
        <Link
          className="button quiet round"
          to={`/history?task_id=${task.id}`}
          aria-label={`History of ${task.title}`}
          title="History"
        >
          <HistoryIcon />
        </Link>
        <button
          type="button"
          className="quiet round"
          onClick={() => {
            // The button goes with its row.
            nextOfFocused()?.focus({ preventScroll: true });
            void remove(task);
          }}
          aria-label={`Delete ${task.title}`}
          title="Delete"
        >
          <TrashIcon />
        </button>
      </div>
    </article>
  );
});

/** A second click must not get a 404 whose toast takes the place of Undo. */
const beingDeleted = new Set<string>();

async function remove({ id, title }: Task): Promise<void> {
  if (beingDeleted.has(id)) return;
  beingDeleted.add(id);
  try {
    const version = await deleteTask(id);
    showPopup("TASK_DELETED", title, () => void takeBack(id, title, version));
  } catch (error) {
    showError(error, `“${title}” is not deleted`);
  } finally {
    beingDeleted.delete(id);
  }
}

async function takeBack(id: string, title: string, version: number): Promise<void> {
  try {
    await undoChange(id, version);
    showPopup("TASK_RESTORED", title);
  } catch (error) {
    showError(error, `“${title}” is not restored`);
  }
}
