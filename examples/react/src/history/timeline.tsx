// The entries in the order of time, newest first, under the day on which they happened.
import { useEffect, useRef } from "react";
import type { HistoryEntry } from "../api/client";
import { formatDay, isoDate, midnight } from "../ui/times";
import type { Entries } from "./entries";
import { Entry, type Undoing } from "./entry";

interface Props {
  entries: HistoryEntry[];
  onUndo: (undoing: Undoing) => void;
}

export function Timeline({ entries, onUndo }: Props) {
  const days = Map.groupBy(entries, ({ timestamp }) => isoDate(new Date(timestamp)));
  return [...days].map(([day, all]) => (
    <section key={day} className="history-day">
      <h2>
        <Relative day={day} /> {formatDay(midnight(day))}
      </h2>
      <ol className="card">
        {all.map((entry) => (
          <Entry key={entry.history_id} entry={entry} onUndo={onUndo} />
        ))}
      </ol>
    </section>
  ));
}

function Relative({ day }: { day: string }) {
  const today = isoDate(new Date());
  if (day === today) return <span className="day-name">Today</span>;
  if (day === isoDate(midnight(today, -1))) return <span className="day-name">Yesterday</span>;
  return null;
}

/** The rest of the entries: loaded when one scrolls there, or asks. */
export function More({ history }: { history: Entries }) {
  const button = useRef<HTMLButtonElement>(null);
  const { fetchNextPage, isFetching, isFetchingNextPage, isFetchNextPageError } = history;
  // Another page would break off what is being read anew.
  const canLoad = !isFetching;

  useEffect(() => {
    if (!canLoad || isFetchNextPageError || !button.current) return;
    const watcher = new IntersectionObserver(
      ([seen]) => {
        if (seen?.isIntersecting) void fetchNextPage();
      },
      { rootMargin: "300px" },
    );
    watcher.observe(button.current);
    return () => watcher.disconnect();
  }, [canLoad, isFetchNextPageError, fetchNextPage]);

  return (
    <div className="history-rest">
      {isFetchNextPageError && (
        <p role="alert" className="field-error">
          More cannot be shown. {history.error.message}
        </p>
      )}
      <button
        ref={button}
        type="button"
        aria-disabled={!canLoad}
        onClick={() => {
          if (canLoad) void fetchNextPage();
        }}
      >
        {isFetchingNextPage ? "Loading…" : "Show more"}
      </button>
    </div>
  );
}
