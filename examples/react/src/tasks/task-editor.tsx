// Edits a task in its place. It saves only if nobody has changed the task meanwhile; else the person chooses.
import { useEffect, useEffectEvent, useId, useRef, useState } from "react";
import { ApiError, type Task } from "../api/client";
import { fieldErrors } from "../api/fields";
import { showError, showPopup } from "../popups/popups";
import { ConflictDialog } from "./conflict-dialog";
import { draftOf, keepDraft, type Draft, type Texts } from "./drafts";
import { readTask } from "./queries";
import { restoreTask, updateTask } from "./writes";

const textsOf = (task: Task): Texts => ({ title: task.title, description: task.description ?? "" });

/** What is to be sent, of what differs. An empty description is none. */
function differences(from: Texts, to: Texts): { title?: string; description?: string | null } {
  return {
    ...(to.title !== from.title && { title: to.title }),
    ...(to.description !== from.description && { description: to.description === "" ? null : to.description }),
  };
}

export function TaskEditor({ task, onClose }: { task: Task; onClose: () => void }) {
  /** The version that is edited. Until it is known, nothing can be typed. */
  const [base, setBase] = useState<Draft["base"] | null>(() => draftOf(task.id)?.base ?? null);
  const [texts, setTexts] = useState<Texts>(() => draftOf(task.id)?.texts ?? textsOf(task));
  const [errors, setErrors] = useState<Record<string, string>>({});
  const [conflict, setConflict] = useState<{ theirs: Task; version: number; sentence: string } | null>(null);
  const [isDeleted, setIsDeleted] = useState(false);
  const [isSaving, setIsSaving] = useState(false);
  const title = useRef<HTMLInputElement>(null);
  const id = useId();

  const onUnread = useEffectEvent(fail);
  useEffect(() => {
    if (draftOf(task.id)) return;
    let isCurrent = true;
    readTask(task.id).then(
      ({ task: now, version }) => {
        if (!isCurrent) return;
        setBase({ texts: textsOf(now), version });
        setTexts(textsOf(now));
      },
      (error: unknown) => {
        if (isCurrent) onUnread(error);
      },
    );
    return () => {
      isCurrent = false;
    };
  }, [task.id]);

  const isReady = base !== null;
  useEffect(() => {
    if (base) keepDraft(task.id, Object.keys(differences(base.texts, texts)).length > 0 ? { base, texts } : null);
  }, [task.id, base, texts]);
  useEffect(() => {
    if (isReady) title.current?.select();
  }, [isReady]);

  function fail(error: unknown): void {
    if (error instanceof ApiError && error.status === 404) setIsDeleted(true);
    const fields = error instanceof ApiError && error.status === 422 ? fieldErrors(error.message) : {};
    const sentence = error instanceof Error ? error.message : String(error);
    const wrong = (["title", "description"] as const).find((name) => fields[name] !== undefined);
    setErrors(wrong ? fields : { task: sentence });
    if (wrong) document.getElementById(`${id}-${wrong}`)?.focus();
  }

  async function save(from: Texts, to: Texts, version: number): Promise<void> {
    const body = differences(from, to);
    if (Object.keys(body).length === 0) {
      close();
      return;
    }
    setErrors({});
    setIsSaving(true);
    try {
      const written = await updateTask(task.id, version, body);
      close();
      showPopup(written.popup, written.task.title);
    } catch (error) {
      // Another page is open. What was typed is still here when the editor is opened again.
      if (title.current === null) showError(error, `“${to.title}” is not saved`);
      else if (error instanceof ApiError && error.status === 412) {
        try {
          const now = await readTask(task.id);
          setConflict({ theirs: now.task, version: now.version, sentence: error.message });
        } catch (gone) {
          fail(gone);
        }
      } else {
        fail(error);
      }
    } finally {
      setIsSaving(false);
    }
  }

  async function restore(): Promise<void> {
    setErrors({});
    setIsSaving(true);
    try {
      const { task: now, version, popup } = await restoreTask(task.id);
      setBase({ texts: textsOf(now), version });
      setIsDeleted(false);
      showPopup(popup, now.title);
    } catch (error) {
      fail(error);
    } finally {
      setIsSaving(false);
    }
  }

  function close(): void {
    keepDraft(task.id, null);
    onClose();
  }

  const field = (name: keyof Texts) => ({
    id: `${id}-${name}`,
    dir: "auto",
    value: texts[name],
    readOnly: !isReady || isSaving,
    onChange: (event: { target: { value: string } }) => setTexts({ ...texts, [name]: event.target.value }),
    "aria-invalid": errors[name] !== undefined,
    "aria-describedby": errors[name] === undefined ? undefined : `${id}-${name}-error`,
  });
  const problem = (name: keyof Texts) =>
    errors[name] !== undefined && (
      <p id={`${id}-${name}-error`} className="field-error" role="alert">
        The {name} {errors[name]}.
      </p>
    );

  return (
    <>
      <form
        className="card task-editor"
        aria-label={`Edit ${task.title}`}
        onSubmit={(event) => {
          event.preventDefault();
          if (base && !isSaving) void save(base.texts, texts, base.version);
        }}
        onKeyDown={(event) => {
          if (event.key === "Escape" && !isSaving && !event.nativeEvent.isComposing) close();
          if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) event.currentTarget.requestSubmit();
        }}
      >
        <div className="field">
          <label htmlFor={`${id}-title`}>Title</label>
          <input ref={title} autoFocus autoComplete="off" {...field("title")} />
          {problem("title")}
        </div>
        <div className="field">
          <label htmlFor={`${id}-description`}>Description</label>
          <textarea rows={4} {...field("description")} />
          {problem("description")}
        </div>
        {errors["task"] !== undefined && (
          <p className="notice" role="alert">
            {isDeleted ? "Somebody has deleted this task. Your text is still here." : errors["task"]}
          </p>
        )}
        <div className="dialog-actions">
          <button type="button" aria-disabled={isSaving} onClick={() => !isSaving && close()}>
            Cancel
          </button>
          {isDeleted ? (
            <button type="button" className="primary" aria-disabled={isSaving} onClick={() => void restore()}>
              Restore the task
            </button>
          ) : (
            <button type="submit" className="primary" aria-disabled={!isReady || isSaving}>
              {isSaving ? "Saving…" : "Save"}
            </button>
          )}
        </div>
      </form>
      {conflict && base && (
        <ConflictDialog
          base={base.texts}
          mine={texts}
          theirs={textsOf(conflict.theirs)}
          sentence={conflict.sentence}
          onCancel={() => setConflict(null)}
          onChoose={(chosen) => {
            setConflict(null);
            setBase({ texts: textsOf(conflict.theirs), version: conflict.version });
            setTexts(chosen);
            void save(textsOf(conflict.theirs), chosen, conflict.version);
          }}
        />
      )}
    </>
  );
}
