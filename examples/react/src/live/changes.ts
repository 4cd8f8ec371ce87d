// Keeps what the page has read like the database: puts each change into the lists that are in memory.
import type { InfiniteData, QueryClient, QueryKey } from "@tanstack/react-query";
import type { Change, Task } from "../api/client";
import { matches, type Filters } from "../tasks/filters";

/** What a change made of a task: null where it was deleted. */
export type Known = Pick<Change, "task_id" | "version" | "task">;

/** A page of a list, as `GET /tasks` answered it. */
export interface TaskPage {
  tasks: Task[];
  next: string | null;
}
export type TaskPages = InfiniteData<TaskPage, string | null>;

/** How many changes are remembered, for lists that are being fetched while they come. */
const REMEMBERED = 5000;

export class Changes {
  readonly #client: QueryClient;
  readonly #versions = new Map<string, number>();
  #log: { at: number; known: Known }[] = [];
  readonly #held = new Map<string, { holders: number; known: Known | null }>();
  #isRefreshing = false;
  /** How often something was found to be old. */
  #found = 0;

  constructor(client: QueryClient) {
    this.#client = client;
    const begun = new WeakMap<object, number>();
    client.getQueryCache().subscribe((event) => {
      if (event.type !== "updated") return;
      const query: object & { queryKey: QueryKey } = event.query;
      const key = query.queryKey;
      if (key[0] !== "tasks" || key[1] !== "list") return;
      if (event.action.type === "fetch") begun.set(query, performance.now());
      // The answer may be older than changes that came while it was under way.
      if (event.action.type === "success" && event.action.manual !== true) {
        const since = begun.get(query) ?? 0;
        const missed = this.#log.filter(({ at }) => at >= since).map(({ known }) => known);
        if (missed.length > 0) queueMicrotask(() => this.#put(key, missed));
      }
    });
  }

  /** Takes in changes, in their order: of our own writes, and of the stream. A repeated one does no harm. */
  learn(all: Known[]): void {
    const at = performance.now();
    const fresh = all.filter(({ task_id, version }) => version > (this.#versions.get(task_id) ?? 0));
    if (fresh.length === 0) return;
    for (const known of fresh) {
      this.#versions.delete(known.task_id);
      this.#versions.set(known.task_id, known.version);
      this.#log.push({ at, known });
    }
    if (this.#log.length > REMEMBERED) {
      this.#log = this.#log.slice(-REMEMBERED);
      for (const id of this.#versions.keys()) {
        if (this.#versions.size <= REMEMBERED) break;
        this.#versions.delete(id);
      }
    }
    for (const known of fresh) {
      const held = this.#held.get(known.task_id);
      if (held) held.known = known;
    }
    this.#putAll(fresh.filter(({ task_id }) => !this.#held.has(task_id)));
    this.#refresh();
  }

  /** Leaves the task in the lists as it is, until `release`: a row must not go while somebody works on it. */
  hold(task_id: string): void {
    const held = this.#held.get(task_id);
    if (held) held.holders += 1;
    else this.#held.set(task_id, { holders: 1, known: null });
  }

  release(task_id: string): void {
    const held = this.#held.get(task_id);
    if (!held || --held.holders > 0) return;
    this.#held.delete(task_id);
    if (held.known) this.#putAll([held.known]);
  }

  /** The API knows no such task (any more). */
  missing(task_id: string): void {
    this.#putAll([{ task_id, version: 0, task: null }]);
    this.#refresh();
  }

  /** From here on versions count anew: of another person's tasks, or of a database that was restored. */
  forget(): void {
    this.#log = [];
    this.#versions.clear();
  }

  #putAll(changes: Known[]): void {
    for (const [key] of this.#client.getQueriesData({ queryKey: ["tasks", "list"] })) this.#put(key, changes);
  }

  #put(key: QueryKey, changes: Known[]): void {
    const filters = key[2] as Filters;
    this.#client.setQueryData<TaskPages>(key, (data) => data && withChanges(data, filters, changes));
  }

  /** What is counted or listed by the service is asked for again, soon, and once for many changes. */
  #refresh(): void {
    this.#found += 1;
    if (this.#isRefreshing) return;
    this.#isRefreshing = true;
    setTimeout(() => void this.#askAnew(), 250);
  }

  /** One after the other: to ask again while the answer is under way would break that off, again and again. */
  async #askAnew(): Promise<void> {
    const found = this.#found;
    const keys = [["tasks", "count"], ["history"], ["statistics"]];
    await Promise.all(keys.map((queryKey) => this.#client.invalidateQueries({ queryKey })));
    this.#isRefreshing = false;
    if (this.#found > found) this.#refresh();
  }
}

/** The list after the changes: each task once, in the service's order, where the filters let it be. */
export function withChanges(data: TaskPages, filters: Filters, changes: Known[]): TaskPages {
  let pages = data.pages;
  for (const { task_id, task } of changes) {
    const at = pages.findIndex(({ tasks }) => tasks.some(({ id }) => id === task_id));
    const before = pages[at]?.tasks.find(({ id }) => id === task_id);
    if (before && task && isLater(before.updated_at, task.updated_at)) continue;
    const page = pages[at];
    const stays = task !== null && matches(filters, task);
    if (page && stays) {
      pages = pages.with(at, { ...page, tasks: page.tasks.map((each) => (each.id === task_id ? task : each)) });
    } else if (page) {
      pages = pages.with(at, { ...page, tasks: page.tasks.filter(({ id }) => id !== task_id) });
    } else if (stays) {
      pages = inserted(pages, task);
    }
  }
  return pages === data.pages ? data : { ...data, pages };
}

/** Puts a task before the first that comes after it; behind the last one only where the list ends there. */
function inserted(pages: TaskPage[], task: Task): TaskPage[] {
  for (const [at, page] of pages.entries()) {
    const place = page.tasks.findIndex((each) => comesAfter(each, task));
    if (place >= 0) return pages.with(at, { ...page, tasks: page.tasks.toSpliced(place, 0, task) });
  }
  const last = pages.at(-1);
  if (!last || last.next !== null) return pages;
  return pages.with(-1, { ...last, tasks: [...last.tasks, task] });
}

/** Within open or completed tasks: the newest first, ties by id (the contract's order). */
function comesAfter(a: Task, b: Task): boolean {
  if (a.created_at === b.created_at) return a.id > b.id;
  return isLater(b.created_at, a.created_at);
}

/** Compares two times of the API to the microsecond, which Date does not keep. */
function isLater(a: string, b: string): boolean {
  // Without the Z, a time with fewer digits sorts before the same one with more.
  return a.slice(0, -1) > b.slice(0, -1);
}
