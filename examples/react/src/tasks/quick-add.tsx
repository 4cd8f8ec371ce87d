// The line for a new task. It is free for the next one at once.
import { useRef, useState } from "react";
import { ApiError } from "../api/client";
import { fieldErrors } from "../api/fields";
import { showError, showPopup } from "../popups/popups";
import { PlusIcon } from "../ui/icons";
import { useStore } from "../ui/store";
import { additions, newTitle, type Addition } from "./drafts";
import { createTask } from "./writes";

let count = 0;

const without = (key: number) => additions.get().filter((each) => each.key !== key);

export function QuickAdd() {
  const title = useStore(newTitle);
  const all = useStore(additions);
  const [problem, setProblem] = useState<string | null>(null);
  const input = useRef<HTMLInputElement>(null);

  async function add(wanted: string): Promise<void> {
    const key = count++;
    additions.set([...additions.get(), { key, title: wanted, problem: null }]);
    try {
      const { task, popup } = await createTask(wanted);
      additions.set(without(key));
      showPopup(popup, task.title);
    } catch (error) {
      const sentence = error instanceof ApiError && error.status === 422 ? fieldErrors(error.message)["title"] : null;
      if (sentence && input.current && newTitle.get() === "") {
        additions.set(without(key));
        newTitle.set(wanted);
        setProblem(`The title ${sentence}.`);
        input.current.focus();
        return;
      }
      // The next one is being typed, or another page is open: it waits beside the line.
      const reason = error instanceof Error ? error.message : String(error);
      additions.set(additions.get().map((each) => (each.key === key ? { ...each, problem: reason } : each)));
      showError(error, `“${wanted}” is not created`);
    }
  }

  return (
    <>
      <form
        className="quick-add"
        onSubmit={(event) => {
          event.preventDefault();
          // The second click of a double one, or Enter that is held down.
          if (title === "") return;
          newTitle.set("");
          setProblem(null);
          void add(title);
        }}
      >
        <div className="field">
          <input
            ref={input}
            dir="auto"
            aria-label="New task"
            placeholder="What is to be done?"
            autoComplete="off"
            value={title}
            onChange={(event) => {
              newTitle.set(event.target.value);
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
      {all.length > 0 && (
        <ul className="being-saved" aria-label="Not saved yet">
          {all.map((addition) => (
            <NotYet
              key={addition.key}
              addition={addition}
              onAgain={() => {
                additions.set(without(addition.key));
                void add(addition.title);
              }}
            />
          ))}
        </ul>
      )}
    </>
  );
}

function NotYet({ addition, onAgain }: { addition: Addition; onAgain: () => void }) {
  const { key, title, problem } = addition;
  return (
    <li className="card long">
      <bdi>{title}</bdi>{" "}
      {problem === null ? (
        <span className="hint">saving…</span>
      ) : (
        <>
          <span className="field-error">{problem}</span>
          <span className="dialog-actions">
            <button type="button" onClick={() => additions.set(without(key))}>
              Discard
            </button>
            <button type="button" onClick={onAgain}>
              Try again
            </button>
          </span>
        </>
      )}
    </li>
  );
}
