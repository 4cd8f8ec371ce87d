// Keeps all tabs of a browser up to date over one stream: one tab follows /changes, and tells the others.
import { api, API_URL, ask, linkOf, type Change } from "../api/client";
import { saving } from "../api/saving";
import { session } from "../session/session";
import { Store, useStore } from "../ui/store";
import { eventsOf } from "./events";

/** Milliseconds without a sign of the stream, after which it counts as dead. The API sends one each 15 s. */
const SILENCE = 35_000;
/** Milliseconds in which a stream must begin: a connection from before a sleep may be dead, and not say so. */
const PATIENCE = 8_000;
/** Milliseconds between two attempts. */
const SHORTEST_PAUSE = 250;
const LONGEST_PAUSE = 8_000;

export type LiveState = "connecting" | "live" | "lost";

interface Listener {
  /** Changes, in their order. */
  onChanges(changes: Change[]): void;
  /** The changes do not continue what was read before: read everything anew. */
  onReset(): void;
}

/** What the tab that follows tells the others. The cursor is the place in the changes after this message. */
type Message =
  | { kind: "changes"; changes: Change[]; cursor: string | null }
  | { kind: "reset"; cursor: string | null }
  | { kind: "lost" };

/** What a tab that has just been opened asks the one that follows. */
interface Question {
  kind: "how-is-it";
}

const store = new Store<LiveState>("connecting");
export const useLive = (): LiveState => useStore(store);

let begin: () => void;
/**
 * Resolves once this tab has its place in the changes. What is read after that, and kept up to date by the
 * changes, misses nothing: none can fall between the two.
 */
export let started = new Promise<void>((resolve) => (begin = resolve));

/** Follows the changes as the one who is signed in, until the function that is returned is called. */
export function startLive(listener: Listener): () => void {
  const stop = new AbortController();
  void follow(listener, stop.signal);
  return () => {
    stop.abort();
    const before = begin;
    started = new Promise((resolve) => {
      begin = () => {
        before();
        resolve();
      };
    });
  };
}

async function follow(listener: Listener, stopped: AbortSignal): Promise<void> {
  let cursor: string | null = null;
  let heard = Date.now();
  let stream = new AbortController();
  let isLeading = false;
  store.set("connecting");

  const isStopped = () => stopped.aborted;

  const name = await nameOf(session.token());
  if (isStopped()) return;
  const tabs = new BroadcastChannel(name);
  // While another tab follows, this one listens.
  tabs.onmessage = ({ data }: MessageEvent<Message | Question>) => {
    if (data.kind !== "how-is-it") take(data);
    else if (isLeading && store.get() === "live") tell({ kind: "changes", changes: [], cursor });
    else if (isLeading && store.get() === "lost") tell({ kind: "lost" });
  };

  function take(message: Message): void {
    if (message.kind === "lost") {
      store.set("lost");
      return;
    }
    // Not with each change: a write that got 503 waits as long as Retry-After says.
    if (store.get() !== "live") saving.wake();
    store.set("live");
    cursor = message.cursor ?? cursor;
    if (message.kind === "reset") listener.onReset();
    else if (message.changes.length > 0) listener.onChanges(message.changes);
    if (cursor !== null) begin();
  }

  /** Takes it in, and tells the others where this tab is the one that follows. */
  function tell(message: Message): void {
    // Whoever is signed in by now follows anew.
    if (isStopped()) return;
    take(message);
    if (isLeading) tabs.postMessage(message);
  }

  async function findPlace(): Promise<void> {
    const { response } = await ask(
      api.GET("/api/v1/tasks", { params: { query: { limit: 1 } }, cache: "no-store", signal: stopped }),
    );
    cursor = linkOf(response, "monitor")?.searchParams.get("after") ?? null;
    begin();
  }

  /** Follows until the stream ends. Throws where there is none. */
  async function readStream(): Promise<void> {
    const token = session.token();
    const patience = setTimeout(() => stream.abort(), PATIENCE);
    const response = await fetch(`${API_URL}/api/v1/changes`, {
      headers: {
        Accept: "text/event-stream",
        ...(cursor !== null && { "Last-Event-ID": cursor }),
        ...(token !== null && { Authorization: `Bearer ${token}` }),
      },
      signal: stream.signal,
      cache: "no-store",
      redirect: "error",
    }).finally(() => clearTimeout(patience));
    if (response.status === 401) session.refused(token === null ? null : `Bearer ${token}`);
    if (response.status === 410) {
      // The cursor is of another life of the database.
      await findPlace();
      tell({ kind: "reset", cursor });
      return;
    }
    const isStream = response.headers.get("Content-Type")?.startsWith("text/event-stream");
    if (!response.ok || !isStream || response.body === null) throw new Error(`no stream: ${response.status}`);
    tell({ kind: "changes", changes: [], cursor });
    let batch: Change[] = [];
    for await (const event of eventsOf(response.body)) {
      heard = Date.now();
      if (event === null) {
        tell({ kind: "changes", changes: [], cursor });
      } else {
        batch.push(JSON.parse(event.data) as Change);
        // The last one of a batch has the place after it.
        if (event.id !== "") {
          tell({ kind: "changes", changes: batch, cursor: event.id });
          batch = [];
        }
      }
    }
  }

  /** Does `what` until it is over, with pauses that grow while it fails. */
  async function insist(what: () => Promise<unknown>, isOver: () => boolean): Promise<void> {
    let pause = SHORTEST_PAUSE;
    while (!isStopped()) {
      stream = new AbortController();
      const begun = (heard = Date.now());
      try {
        await what();
      } catch {
        tell({ kind: "lost" });
      }
      // What ends soon, again and again, is not asked for all the time, even if it did not fail.
      pause = Date.now() - begun > LONGEST_PAUSE ? SHORTEST_PAUSE : Math.min(pause * 2, LONGEST_PAUSE);
      stream.abort();
      if (isOver()) return;
      await pausing(pause, stopped);
    }
  }

  // After a sleep, or behind a dead connection, nothing says that the stream has ended.
  const endIfSilent = (milliseconds: number) => {
    if (Date.now() - heard > milliseconds) stream.abort();
  };
  const watch = setInterval(() => endIfSilent(SILENCE), 5_000);
  const wake = () => endIfSilent(SILENCE / 2);
  document.addEventListener("visibilitychange", wake);
  window.addEventListener("online", wake);

  stopped.addEventListener("abort", () => {
    stream.abort();
    clearInterval(watch);
    document.removeEventListener("visibilitychange", wake);
    window.removeEventListener("online", wake);
    tabs.close();
  });

  await insist(findPlace, () => cursor !== null);
  if (isStopped()) return;
  tabs.postMessage({ kind: "how-is-it" } satisfies Question);
  const lead = () => {
    isLeading = true;
    return insist(readStream, () => false);
  };
  // The next tab takes over when this one is closed. A page that came over plain http has no locks: it follows alone.
  const locks = navigator.locks as LockManager | undefined;
  // So does one whose browser refuses the lock.
  await (locks?.request(name, { signal: stopped }, lead) ?? lead()).catch(lead);
}

/** Waits so many milliseconds, less where the network is back, or where it is over. */
function pausing(milliseconds: number, stopped: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      window.removeEventListener("online", end);
      stopped.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, milliseconds);
    window.addEventListener("online", end);
    stopped.addEventListener("abort", end);
  });
}

/** A name that the tabs with this token share, and that does not tell it: two people may be signed in. */
async function nameOf(token: string | null): Promise<string> {
  const name = `taskapi-changes ${API_URL}`;
  if (token === null || !("subtle" in crypto)) return name;
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(token));
  return `${name} ${Array.from(new Uint8Array(digest).slice(0, 8), (byte) => byte.toString(16)).join("")}`;
}
