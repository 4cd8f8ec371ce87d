// The line for a new task. It is free for the next one at once.
import { useRef, useState } from "react";
import { ApiError } from "../api/client";
import { fieldErrors } from "../api/fields";
import { showError, showPopup } from "../popups/popups";
import { PlusIcon } from "../ui/icons";
import { createTask } from "./writes";

export function QuickAdd() {
  const [title, setTitle] = useState("");
  const [problem, setProblem] = useState<string | null>(null);
  const [saving, setSaving] = useState<{ key: number; title: string }[]>([]);
  const count = useRef(0);
  const input = useRef<HTMLInputElement>(null);

  async function add(): Promise<void> {
    const key = count.current++;
    setSaving((all) => [...all, { key, title }]);
    setTitle("");
    setProblem(null);
    try {
      const { task, popup } = await createTask(title);
      showPopup(popup, task.title);
    } catch (error) {
      // The text comes back, unless the next one is being typed.
      setTitle((now) => (now === "" ? title : now));
      const sentence = error instanceof ApiError && error.status === 422 ? fieldErrors(error.message)["title"] : null;
      if (sentence) {
        setProblem(`The title ${sentence}.`);
        input.current?.focus();
      } else {
        showError(error, `“${title}” is not created`);
      }
    } finally {
      setSaving((all) => all.filter((each) => each.key !== key));
    }
  }

  return (
    <>
      <form
        className="quick-add"
        onSubmit={(event) => {
          event.preventDefault();
          void add();
        }}
      >
        <div className="field">
          <input
            ref={input}
            aria-label="New task"
            placeholder="What is to be done?"
            autoComplete="off"
            value={title}
            onChange={(event) => {
              setTitle(event.target.value);
              setProblem(null);
            }}
            aria-invalid={problem !== null}
            aria-describedby={problem === null ? undefined : "new-task-problem"}
          />
          {problem !== null && (
            <p id="new-task-problem" className="field-error" role="alert">
              {problem}
            </p>
          )}
        </div>
        <button type="submit" className="primary">
          <PlusIcon />
          Add
        </button>
      </form>
      {saving.length > 0 && (
        <ul className="being-saved" aria-label="Being saved">
          {saving.map(({ key, title: each }) => (
            <li key={key} className="card long">
              {each} <span className="hint">saving…</span>
            </li>
          ))}
        </ul>
      )}
    </>
  );
}
