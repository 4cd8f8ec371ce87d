// The tasks: a line for a new one, open and completed apart, search and dates in the address.
import { useEffect } from "react";
import { Link, useSearchParams } from "react-router";
import { SearchIcon } from "../ui/icons";
import { useTyped } from "../ui/typed";
import { filtersOf } from "./filters";
import { useTaskCount } from "./queries";
import { QuickAdd } from "./quick-add";
import { TaskList } from "./task-list";
import "./tasks.css";

export function TasksPage() {
  const [search, setSearch] = useSearchParams();
  const filters = filtersOf(search);
  const open = useTaskCount({ ...filters, is_completed: false });
  const completed = useTaskCount({ ...filters, is_completed: true });

  /** The address with this parameter; without it where it is empty. */
  function withParameter(name: string, value: string): URLSearchParams {
    const next = new URLSearchParams(search);
    if (value === "") next.delete(name);
    else next.set(name, value);
    return next;
  }
  const set = (name: string) => (value: string) => setSearch(withParameter(name, value), { replace: true });
  const tab = (name: string, list: string, count: number | undefined, isCurrent: boolean) => (
    <Link to={{ search: withParameter("list", list).toString() }} aria-current={isCurrent ? "page" : undefined}>
      {name} {count !== undefined && <span className="badge">{count.toLocaleString()}</span>}
    </Link>
  );

  return (
    <>
      <h1 className="visually-hidden">Tasks</h1>
      <QuickAdd />
      <div className="task-tools">
        <nav className="tabs" aria-label="Lists">
          {tab("Open", "", open, !filters.is_completed)}
          {tab("Completed", "completed", completed, filters.is_completed)}
        </nav>
        <search className="task-filters">
          <SearchField value={filters.text} onChange={set("text")} />
          <details>
            <summary>{filters.from === "" && filters.to === "" ? "Dates" : "Dates (set)"}</summary>
            <div className="card dates">
              <DateField name="Created from" value={filters.from} onChange={set("from")} />
              <DateField name="Created until" value={filters.to} onChange={set("to")} />
            </div>
          </details>
        </search>
      </div>
      <TaskList key={String(filters.is_completed)} filters={filters} total={filters.is_completed ? completed : open} />
    </>
  );
}

/** Searches once the typing pauses. */
function SearchField({ value, onChange }: { value: string; onChange: (text: string) => void }) {
  const [typed, setTyped] = useTyped(value);
  useEffect(() => {
    if (typed === value) return;
    const timer = setTimeout(() => onChange(typed), 200);
    return () => clearTimeout(timer);
  });
  return (
    <div className="search-field">
      <SearchIcon />
      <input
        type="search"
        aria-label="Search"
        placeholder="Search"
        maxLength={200}
        value={typed}
        onChange={(event) => setTyped(event.target.value)}
      />
    </div>
  );
}

function DateField({ name, value, onChange }: { name: string; value: string; onChange: (date: string) => void }) {
  const [typed, setTyped] = useTyped(value);
  return (
    <label className="field">
      {name}
      <input
        type="date"
        // While a year is typed, it is one of the first century.
        min="1000-01-01"
        max="8999-12-31"
        value={typed}
        onChange={({ target }) => {
          setTyped(target.value);
          if (target.validity.valid) onChange(target.value);
        }}
      />
    </label>
  );
}
