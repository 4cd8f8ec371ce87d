// The tasks of a moment, to be read only: the open ones, then the completed ones.
import { Link } from "react-router";
import type { Task } from "../api/client";
import { Time } from "../ui/time";
import { formatTime } from "../ui/times";
import { newsOf } from "./moments";

interface Props {
  tasks: Task[];
  figures: { open: number; completed: number } | undefined;
  /** What has happened since is highlighted. */
  since: number | null;
  hasMore: boolean;
  isReading: boolean;
  onMore: () => void;
}

export function TasksThen({ tasks, figures, since, hasMore, isReading, onMore }: Props) {
  const open = tasks.filter((task) => !task.is_completed);
  const completed = tasks.filter((task) => task.is_completed);
  if (tasks.length === 0) return <NoTask />;
  return (
    <>
      <Group title="Open" count={figures?.open} tasks={open} since={since} />
      <Group title="Completed" count={figures?.completed} tasks={completed} since={since} />
      {hasMore && (
        <div className="then-more">
          <button type="button" onClick={onMore} aria-disabled={isReading}>
            Show more
          </button>
          <p className="hint" role="status">
            {isReading ? "Loading more…" : `The first ${tasks.length} tasks are shown.`}
          </p>
        </div>
      )}
    </>
  );
}

interface GroupProps {
  title: string;
  count: number | undefined;
  tasks: Task[];
  since: number | null;
}

function Group({ title, count, tasks, since }: GroupProps) {
  if (tasks.length === 0) return null;
  return (
    <section className="then-group" aria-label={title}>
      <h2>
        {title} <span className="badge">{count}</span>
      </h2>
      <ul className="card then-list">
        {tasks.map((task) => (
          <Row key={task.id} task={task} since={since} />
        ))}
      </ul>
    </section>
  );
}

function Row({ task, since }: { task: Task; since: number | null }) {
  const news = since === null ? null : newsOf(task, since);
  return (
    <li className={`then-task ${news === null ? "" : `is-${news.toLowerCase()}`}`}>
      <Mark isCompleted={task.is_completed} />
      <div className="then-texts">
        <p className="long then-title" dir="auto">
          {task.title}
          {news !== null && <span className="then-news">{news}</span>}
        </p>
        {task.description !== null && <p className="long then-description">{task.description}</p>}
        <p className="hint">
          Created <Exact time={task.created_at} />
          {task.completed_at !== null && (
            <>
              , completed <Exact time={task.completed_at} />
            </>
          )}
          <Link to={`/history?task_id=${task.id}`}>
            History<span className="visually-hidden"> of {task.title}</span>
          </Link>
        </p>
      </div>
    </li>
  );
}

// Not how long ago it is: here, now is another time.
function Exact({ time }: { time: string }) {
  return <Time time={time} format={formatTime} />;
}

function Mark({ isCompleted }: { isCompleted: boolean }) {
  return (
    <svg
      className={isCompleted ? "icon then-mark is-done" : "icon then-mark"}
      viewBox="0 0 24 24"
      width="22"
      height="22"
      role="img"
      aria-label={isCompleted ? "Completed" : "Open"}
    >
      <circle cx="12" cy="12" r="9.5" />
      {isCompleted && <path d="m7.8 12.4 2.9 2.9 5.6-6.2" />}
    </svg>
  );
}

function NoTask() {
  return (
    <section className="card empty">
      <h2>There was no task then</h2>
      <p>At this moment the list was empty. Move the slider, or look for the next change.</p>
    </section>
  );
}
