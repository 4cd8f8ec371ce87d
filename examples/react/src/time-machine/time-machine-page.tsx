// The time machine: the list as it was at any moment of its life, which it also plays like a film.
import { useEffect, useState } from "react";
import { useMutation } from "@tanstack/react-query";
import { Link, useNavigate, useSearchParams } from "react-router";
import type { HistoryEntry } from "../api/client";
import { formatTime } from "../ui/times";
import { Trouble } from "../ui/trouble";
import { Waiting } from "../ui/waiting";
import { Controls } from "./controls";
import { Figures } from "./figures";
import { useFilm } from "./film";
import { momentAfter, momentOf, textOf, textOfChange, within, type Moment } from "./moments";
import { TasksThen } from "./tasks-then";
import { changeAfter, changeBefore, useFiguresThen, useFirst, useTasksThen } from "./then";
import "./time-machine.css";

/** Milliseconds of rest before the moment goes into the address: browsers refuse to have it changed all the time. */
const REST = 250;

const ADVICE = "Choose another moment, or go to now.";

export default function TimeMachinePage() {
  const first = useFirst();
  return (
    <>
      <div>
        <h1>Time machine</h1>
        <p className="hint">The list as it was at any moment. Here nothing can be changed.</p>
      </div>
      {first.data === undefined && !first.error && <Waiting reason={first.failureReason}>Looking back…</Waiting>}
      {first.data === undefined && first.error && <Trouble error={first.error} onRetry={() => void first.refetch()} />}
      {first.data === null && <NothingYet />}
      {typeof first.data === "number" && <Machine first={first.data} />}
    </>
  );
}

/** Where we are in time. What has changed since `since` is highlighted; `arrived` is when we came there. */
interface Place {
  at: Moment;
  since: number | null;
  /** The change that we jumped to. */
  entry: HistoryEntry | null;
  arrived: number;
}

const UNMOVED = { since: null, entry: null, arrived: 0 };

function Machine({ first }: { first: number }) {
  const [now, setNow] = useNow();
  const [place, setPlace] = usePlace();
  const life = { first, now };
  const at = within(life, place.at);

  // The next moment is asked for when the last answer is there, however fast the slider moves.
  const [asked, setAsked] = useState(at);
  const tasks = useTasksThen(asked);
  const figures = useFiguresThen(asked);
  const isAnswered = isSettled(tasks) && isSettled(figures);
  if (isAnswered && asked !== at) setAsked(at);
  const isShown = isAnswered && asked === at;
  // Until the next list is there, the highlights stay those of the list that is seen.
  const [since, setSince] = useState(place.since);
  if (isShown && since !== place.since) setSince(place.since);
  const error = tasks.error ?? figures.error;

  function go(to: Moment, since: number | null = null, entry: HistoryEntry | null = null) {
    const time = Date.now();
    setNow(time);
    setPlace({ at: within({ first, now: time }, to), since, entry, arrived: performance.now() });
  }

  const film = useFilm({ at, arrived: place.arrived, life, isShown, hasFailed: error !== null, onFrame: go });
  useAddress(at, film.isPlaying);

  const jump = useMutation({
    mutationFn: (to: "previous" | "next") => (to === "previous" || at === null ? changeBefore(at) : changeAfter(at)),
    onSuccess: (entry, to) => {
      if (entry === undefined) go(to === "previous" ? first : null);
      else go(momentAfter(entry.timestamp), momentAfter(entry.timestamp) - 1, entry);
    },
  });

  return (
    <>
      <section className="card machine" aria-label="Time">
        <Controls
          at={at}
          entry={place.entry}
          life={life}
          isPlaying={film.isPlaying}
          speed={film.speed}
          onGo={go}
          onPlay={() => (film.isPlaying ? film.pause() : film.play(Date.now()))}
          onSpeed={film.setSpeed}
          onJump={(to) => {
            film.pause();
            if (!jump.isPending) jump.mutate(to);
          }}
        />
        {figures.data && <Figures {...figures.data} />}
      </section>
      <p className="visually-hidden" role="status">
        {film.isPlaying ? "Playing." : isShown && figures.data && sentenceOf(place.entry, at, figures.data)}
      </p>
      {jump.error && <Trouble error={jump.error} advice={ADVICE} onRetry={() => jump.mutate(jump.variables)} />}
      {error && (
        <Trouble
          error={error}
          advice={ADVICE}
          onRetry={() => {
            void tasks.refetch();
            void figures.refetch();
          }}
        />
      )}
      {tasks.data ? (
        <TasksThen
          tasks={tasks.data.pages.flatMap((page) => page.tasks)}
          figures={figures.data}
          since={since}
          hasMore={tasks.hasNextPage}
          isReading={tasks.isFetchingNextPage}
          onMore={() => {
            film.pause();
            void tasks.fetchNextPage();
          }}
        />
      ) : (
        !error && <Waiting reason={tasks.failureReason}>Looking back…</Waiting>
      )}
    </>
  );
}

const isSettled = (query: { isPending: boolean; isPlaceholderData: boolean }) =>
  !query.isPending && !query.isPlaceholderData;

/** The place that the address says, until it is left for another one. */
function usePlace() {
  const [params] = useSearchParams();
  const inAddress = params.get("at");
  const [seen, setSeen] = useState(inAddress);
  const [place, setPlace] = useState<Place>({ at: momentOf(inAddress), ...UNMOVED });
  if (seen !== inAddress) {
    setSeen(inAddress);
    const at = momentOf(inAddress);
    if (at !== place.at) setPlace({ at, ...UNMOVED });
  }
  return [place, setPlace] as const;
}

/** Keeps the moment in the address, so that it can be shared. */
function useAddress(at: Moment, isPlaying: boolean) {
  const [params] = useSearchParams();
  const navigate = useNavigate();
  const text = at === null ? null : textOf(at);
  const isThere = params.get("at") === text;
  useEffect(() => {
    if (isPlaying || isThere) return;
    const timer = setTimeout(() => {
      void navigate({ search: text === null ? "" : `?at=${text}` }, { replace: true });
    }, REST);
    return () => clearTimeout(timer);
  }, [text, isThere, isPlaying, navigate]);
}

function useNow() {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 5_000);
    return () => clearInterval(timer);
  }, []);
  return [now, setNow] as const;
}

function sentenceOf(entry: HistoryEntry | null, at: Moment, { open, completed }: { open: number; completed: number }) {
  const change = entry === null ? "" : `${textOfChange(entry)}. `;
  return `${change}${at === null ? "Now" : formatTime(new Date(at))}: ${open} open, ${completed} completed.`;
}

function NothingYet() {
  return (
    <section className="card empty">
      <h2>Nothing has happened yet</h2>
      <p>From the first task on, you can come back here and see the list as it was at any moment.</p>
      <p>
        <Link to="/">Add a first task</Link>
      </p>
    </section>
  );
}
