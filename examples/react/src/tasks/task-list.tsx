// The tasks as a list of any length: only what can be seen is in the page, and more is fetched as one scrolls.
import { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from "react";
import { defaultRangeExtractor, useWindowVirtualizer } from "@tanstack/react-virtual";
import { useLive } from "../live/live";
import { changes } from "../live/memory";
import { Trouble } from "../ui/trouble";
import { useWishes } from "./completion";
import { useDrafts } from "./drafts";
import type { Filters } from "./filters";
import { useTaskList } from "./queries";
import { TaskRow } from "./task-row";

/** Rows before the end at which the next page is fetched. */
const AHEAD = 60;

export function TaskList({ filters, total }: { filters: Filters; total: number | undefined }) {
  const {
    data,
    error,
    isPending,
    isPlaceholderData,
    hasNextPage,
    isFetchingNextPage,
    isFetchNextPageError,
    fetchNextPage,
    refetch,
  } = useTaskList(filters);
  const live = useLive();
  const wishes = useWishes();
  const drafts = useDrafts();
  const [edited, setEdited] = useState<string | null>(null);
  /** The task whose editor has been closed. */
  const returnFocus = useRef<string | null>(null);
  const list = useRef<HTMLUListElement>(null);
  const [top, setTop] = useState(0);
  const tasks = useMemo(() => data?.pages.flatMap((page) => page.tasks) ?? [], [data]);
  const isEmpty = tasks.length === 0;
  const editedAt = tasks.findIndex(({ id }) => id === edited);

  const isGone = edited !== null && data !== undefined && !isPlaceholderData && editedAt < 0;
  if (isGone) setEdited(null);
  useEffect(() => {
    if (edited === null) return;
    // What others do to it meanwhile must not take what is being typed.
    changes.hold(edited);
    return () => {
      changes.release(edited);
      returnFocus.current = edited;
    };
  }, [edited]);
  useEffect(() => {
    if (edited !== null || returnFocus.current === null) return;
    document.querySelector<HTMLElement>(`[data-edit="${returnFocus.current}"]`)?.focus();
    returnFocus.current = null;
  });

  useLayoutEffect(() => {
    setTop((list.current?.getBoundingClientRect().top ?? 0) + window.scrollY);
  }, [isEmpty]);

  // An editor closes only itself: its save may end after another one is opened.
  const edit = useCallback((id: string | null, from?: string) => {
    setEdited((now) => (id === null && from !== undefined && now !== from ? now : id));
  }, []);

  const virtualizer = useWindowVirtualizer({
    count: tasks.length,
    estimateSize: () => 80,
    overscan: 8,
    scrollMargin: top,
    getItemKey: (index) => tasks[index]?.id ?? index,
    // What is being typed must not go when its row is scrolled away.
    rangeExtractor: (range) => {
      const indexes = defaultRangeExtractor(range);
      if (editedAt < 0 || indexes.includes(editedAt)) return indexes;
      return [...indexes, editedAt].sort((a, b) => a - b);
    },
  });
  const rows = virtualizer.getVirtualItems();

  // What one looks at stays where it is, when rows come or go above it.
  const anchor = useRef<{ key: React.Key; start: number } | null>(null);
  useLayoutEffect(() => {
    if (anchor.current === null || window.scrollY <= top) return;
    const index = tasks.findIndex(({ id }) => id === anchor.current?.key);
    const start = virtualizer.measurementsCache[index]?.start;
    if (start !== undefined) window.scrollBy({ top: start - anchor.current.start, behavior: "instant" });
  }, [tasks, top, virtualizer]);
  useLayoutEffect(() => {
    const first = rows.find(({ end }) => end > window.scrollY);
    anchor.current = first ? { key: first.key, start: first.start } : null;
  });

  const last = rows.at(-1)?.index ?? 0;
  useEffect(() => {
    if (hasNextPage && !isFetchingNextPage && !isFetchNextPageError && last >= tasks.length - AHEAD)
      void fetchNextPage();
  }, [hasNextPage, isFetchingNextPage, isFetchNextPageError, last, tasks.length, fetchNextPage]);

  if (isPending) {
    return (
      <p className="hint loading">
        {live === "lost" ? "The service does not answer. Your tasks come when it does." : "Loading the tasks…"}
      </p>
    );
  }
  if (error !== null && isEmpty) {
    return <Trouble error={error} advice="Change or clear the search." onRetry={() => void refetch()} />;
  }
  if (isEmpty) return <Empty filters={filters} />;
  return (
    <>
      <ul
        ref={list}
        className="task-list"
        aria-label={filters.is_completed ? "Completed tasks" : "Open tasks"}
        aria-busy={isPlaceholderData}
        style={{ height: virtualizer.getTotalSize() }}
      >
        {rows.map(({ index, key, start }) => {
          const task = tasks[index];
          if (!task) return null;
          return (
            <li
              key={key}
              ref={virtualizer.measureElement}
              data-index={index}
              aria-posinset={index + 1}
              aria-setsize={total ?? -1}
              style={{ transform: `translateY(${start - top}px)` }}
            >
              <TaskRow
                task={task}
                wish={wishes.get(task.id)?.wanted}
                isEdited={task.id === edited}
                hasDraft={drafts.has(task.id)}
                onEdit={edit}
              />
            </li>
          );
        })}
      </ul>
      {isFetchNextPageError ? (
        <Trouble error={error} onRetry={() => void fetchNextPage()} />
      ) : (
        hasNextPage && <p className="hint loading">Loading more…</p>
      )}
    </>
  );
}

function Empty({ filters }: { filters: Filters }) {
  const isFiltered = filters.text !== "" || filters.from !== "" || filters.to !== "";
  return (
    <div className="card empty">
      <h2>{isFiltered ? "No task matches" : filters.is_completed ? "Nothing is completed yet" : "Nothing is open"}</h2>
      <p>
        {isFiltered
          ? "Try other words or other dates, or look among the other tasks."
          : filters.is_completed
            ? "Tick a task, and it moves here."
            : "Type what is to be done above, and press Enter."}
      </p>
    </div>
  );
}
