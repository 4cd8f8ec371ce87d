// The filters as a form. What is chosen or typed goes to the address; what the API refuses is said at the field.
import { useEffect, useEffectEvent, useId, useRef, useState, type HTMLAttributes, type ReactNode } from "react";
import { RightIcon } from "../ui/icons";
import { useTitle } from "./entries";
import { NO_FILTERS, type Filters } from "./filters";
import { ACTION_NAMES } from "./words";

/** Milliseconds without a key, after which what was typed counts. */
const PAUSE = 400;

interface Props {
  filters: Filters;
  errors: Record<string, string>;
  /** Names for the field "Who". */
  names: string[];
  /** `goesOn`: this continues the last change, such as more letters of the same word. */
  onChange: (filters: Filters, goesOn?: boolean) => void;
}

export function FilterForm({ filters, errors, names, onChange }: Props) {
  const [wasOpened, setOpened] = useState(false);
  // Of the narrow page, which hides the fields.
  const isOpen = wasOpened || Object.keys(errors).length > 0;
  const form = useRef<HTMLElement>(null);
  const list = useId();
  const count = Object.values(filters).filter((value) => value !== "").length;
  const text = (name: keyof Filters) => ({
    value: filters[name],
    error: errors[name],
    onChange: (value: string, goesOn: boolean) => onChange({ ...filters, [name]: value }, goesOn),
  });
  // The button that was pressed is gone then.
  const clear = (cleared: Filters) => {
    onChange(cleared);
    form.current?.focus();
  };
  return (
    <search ref={form} tabIndex={-1} aria-label="Filters" className="card history-filters">
      <button type="button" className="quiet filter-toggle" aria-expanded={isOpen} onClick={() => setOpened(!isOpen)}>
        {count === 0 ? "Filters" : `Filters (${count})`}
        <RightIcon />
      </button>
      <div className={isOpen ? "filter-fields open" : "filter-fields"}>
        <Field label="Action" error={errors.action_type}>
          {(field) => (
            <select
              {...field}
              value={filters.action_type}
              onChange={(event) => onChange({ ...filters, action_type: event.target.value })}
            >
              <option value="">Any</option>
              {Object.entries(ACTION_NAMES).map(([action, name]) => (
                <option key={action} value={action}>
                  {name}
                </option>
              ))}
            </select>
          )}
        </Field>
        <TextField label="Who" placeholder="Anybody" list={list} {...text("actor")} />
        <datalist id={list}>
          {names.map((name) => (
            <option key={name} value={name} />
          ))}
        </datalist>
        <TextField label="Run" placeholder="Any" {...text("change_set")} />
        <TextField label="From" type="date" {...text("from")} />
        <TextField label="To" type="date" {...text("to")} />
      </div>
      {count > 0 && (
        <div className="filter-set">
          {filters.task_id !== "" && (
            <TaskFilter
              task_id={filters.task_id}
              error={errors.task_id}
              onClear={() => clear({ ...filters, task_id: "" })}
            />
          )}
          <button type="button" className="quiet" onClick={() => clear(NO_FILTERS)}>
            Clear all filters
          </button>
        </div>
      )}
    </search>
  );
}

function TaskFilter({ task_id, error, onClear }: { task_id: string; error: string | undefined; onClear: () => void }) {
  const title = useTitle(task_id);
  return (
    <div className="filter-task">
      <p className="long">
        <span className="label">Task</span> {title.data ?? task_id}
      </p>
      <button type="button" onClick={onClear}>
        All tasks
      </button>
      {error !== undefined && <p className="field-error">This task {error}.</p>}
    </div>
  );
}

type FieldAttributes = Pick<HTMLAttributes<HTMLElement>, "id" | "aria-invalid" | "aria-describedby">;

interface FieldProps {
  label: string;
  error: string | undefined;
  children: (attributes: FieldAttributes) => ReactNode;
}

function Field({ label, error, children }: FieldProps) {
  const id = useId();
  const isWrong = error !== undefined;
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      {children({ id, ...(isWrong && { "aria-invalid": true, "aria-describedby": `${id}-error` }) })}
      {isWrong && (
        <p id={`${id}-error`} className="field-error long">
          This {error}.
        </p>
      )}
    </div>
  );
}

interface TextFieldProps {
  label: string;
  value: string;
  error: string | undefined;
  onChange: (value: string, goesOn: boolean) => void;
  type?: "date";
  placeholder?: string;
  list?: string;
}

/** Says what was typed after a pause. Takes on a value that comes from elsewhere, such as the back button. */
function TextField({ label, value, error, onChange, type, ...rest }: TextFieldProps) {
  const [draft, setDraft] = useState(value);
  const [known, setKnown] = useState({ value, sent: value });
  const hasSent = useRef(false);

  if (value !== known.value) {
    setKnown({ value, sent: value });
    // Our own comes back while the next letter is typed.
    if (value !== known.sent) setDraft(value);
  }

  const send = useEffectEvent(() => {
    const sent = draft.trim();
    if (sent === value) return;
    setKnown({ value, sent });
    onChange(sent, hasSent.current);
    hasSent.current = true;
  });
  useEffect(() => {
    const timer = setTimeout(() => send(), PAUSE);
    return () => clearTimeout(timer);
  }, [draft]);

  return (
    <Field label={label} error={error}>
      {(field) => (
        <input
          {...field}
          {...rest}
          type={type ?? "text"}
          max={type && "9999-12-31"}
          autoComplete="off"
          spellCheck={false}
          value={draft}
          onFocus={() => (hasSent.current = false)}
          onChange={(event) => setDraft(event.target.value)}
        />
      )}
    </Field>
  );
}
