// The history: everything that has happened, newest first, and the ways to undo it.
import { useQueryClient, type InfiniteData } from "@tanstack/react-query";
import { useState } from "react";
import { Link, useNavigate, useSearchParams } from "react-router";
import { ApiError, type HistoryEntry } from "../api/client";
import { fieldErrors } from "../api/fields";
import { UndoIcon } from "../ui/icons";
import { useEntries, type Entries } from "./entries";
import type { Undoing } from "./entry";
import { FilterForm } from "./filter-form";
import { addressOf, filtersOf, NO_FILTERS, type Filters } from "./filters";
import { More, Timeline } from "./timeline";
import { UndoChange } from "./undo-change";
import { UndoActor, UndoRun } from "./undo-many";
import { plural } from "./words";
import "./history.css";

export default function HistoryPage() {
  const [search] = useSearchParams();
  const navigate = useNavigate();
  const filters = filtersOf(search);
  const history = useEntries(filters);
  const names = useNames();
  const [undoing, setUndoing] = useState<Undoing | null>(null);
  const errors = errorsOf(history.error);
  const close = () => setUndoing(null);

  return (
    <>
      <div className="page-head">
        <h1>History</h1>
        <Status history={history} />
      </div>
      <FilterForm
        filters={filters}
        errors={errors}
        names={names}
        onChange={(changed, goesOn = false) => void navigate(addressOf(changed), { replace: goesOn })}
      />
      <UndoMany filters={filters} history={history} onUndo={setUndoing} />
      <Content
        filters={filters}
        history={history}
        hasFieldErrors={Object.keys(errors).length > 0}
        onUndo={setUndoing}
      />
      {undoing && "entry" in undoing && <UndoChange entry={undoing.entry} onClose={close} />}
      {undoing && "change_set" in undoing && <UndoRun change_set={undoing.change_set} onClose={close} />}
      {undoing && "filters" in undoing && <UndoActor filters={undoing.filters} onClose={close} />}
    </>
  );
}

function Status({ history }: { history: Entries }) {
  const total = history.data?.pages[0]?.total;
  const text =
    history.failureCount > 0 && history.isFetching
      ? "The service does not answer. Trying again…"
      : history.isPending || history.isPlaceholderData
        ? "Loading…"
        : total === undefined
          ? ""
          : plural(total, "entry", "entries");
  return (
    <p role="status" className="hint">
      {text}
    </p>
  );
}

interface PartProps {
  filters: Filters;
  history: Entries;
  onUndo: (undoing: Undoing) => void;
}

function UndoMany({ filters, history, onUndo }: PartProps) {
  const { actor, change_set } = filters;
  const isEmpty = (history.data?.pages[0]?.total ?? 0) === 0;
  if (isEmpty || (actor === "" && change_set === "")) return null;
  return (
    <div className="undo-many">
      {actor !== "" && (
        <button type="button" className="long" onClick={() => onUndo({ filters })}>
          <UndoIcon />
          Undo everything by {actor}…
        </button>
      )}
      {change_set !== "" && (
        <button type="button" onClick={() => onUndo({ change_set })}>
          <UndoIcon />
          Undo this run…
        </button>
      )}
    </div>
  );
}

function Content({ filters, history, hasFieldErrors, onUndo }: PartProps & { hasFieldErrors: boolean }) {
  if (history.data === undefined) {
    if (!history.isError) return null;
    return (
      <section role="alert" className="card empty">
        <h2>The history cannot be shown</h2>
        <p className="long">
          {hasFieldErrors ? "The service does not accept a filter. Change or clear it." : history.error.message}
        </p>
        {!hasFieldErrors && (
          <button type="button" onClick={() => void history.refetch()}>
            Try again
          </button>
        )}
      </section>
    );
  }
  const entries = history.data.pages.flatMap((page) => page.entries);
  if (entries.length === 0) return <Empty filters={filters} />;
  return (
    <div className="history-days" aria-busy={history.isPlaceholderData}>
      <Timeline entries={entries} onUndo={onUndo} />
      {history.hasNextPage && <More history={history} />}
    </div>
  );
}

function Empty({ filters }: { filters: Filters }) {
  if (addressOf(filters) === addressOf(NO_FILTERS)) {
    return (
      <section className="card empty">
        <h2>Nothing has happened yet</h2>
        <p>Each change of a task will be here: what, when and by whom.</p>
        <Link className="button" to="/">
          Go to the tasks
        </Link>
      </section>
    );
  }
  return (
    <section className="card empty">
      <h2>Nothing was found</h2>
      <p>
        {filters.from !== "" && filters.to !== "" && filters.from > filters.to
          ? "The period ends before it begins. Change one of the two dates."
          : "No change fits these filters. Names and runs count only as a whole, in the same letters."}
      </p>
    </section>
  );
}

/** Everybody whose changes have been read, with whatever filters. */
function useNames(): string[] {
  const lists = useQueryClient().getQueriesData<InfiniteData<{ entries: HistoryEntry[] }>>({
    queryKey: ["history", "list"],
  });
  const entries = lists.flatMap(([, list]) => list?.pages.flatMap((page) => page.entries) ?? []);
  return [...new Set(entries.flatMap(({ actor }) => actor ?? []))].sort();
}

function errorsOf(error: Error | null): Record<string, string> {
  if (!(error instanceof ApiError && error.status === 422)) return {};
  const { before, ...errors } = fieldErrors(error.message);
  // The API's `before` is the day after our `to`.
  return before === undefined ? errors : { ...errors, to: before };
}
