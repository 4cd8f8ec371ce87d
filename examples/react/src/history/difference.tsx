// What two states of a task differ in, field by field: before and after.
import type { Task } from "../api/client";
import { formatTime } from "../ui/times";
import { difference, type Piece } from "./word-difference";

const FIELDS: { name: string; of: (task: Task) => string | null }[] = [
  { name: "Title", of: ({ title }) => title },
  { name: "Description", of: ({ description }) => description },
  {
    name: "State",
    of: ({ completed_at }) => (completed_at === null ? "Open" : `Completed, ${formatTime(completed_at)}`),
  },
];

interface Props {
  /** Null: the task is not there. */
  before: Task | null;
  after: Task | null;
}

export function Difference({ before, after }: Props) {
  const whole = before === null ? after : after === null ? before : null;
  if (whole !== null) return <Whole task={whole} />;
  const fields = FIELDS.map(({ name, of }) => ({ name, old: before && of(before), new: after && of(after) }));
  const changed = fields.filter((field) => field.old !== field.new);
  if (changed.length === 0) return <p className="hint">Nothing that is shown here has changed.</p>;
  return (
    <dl className="difference">
      {changed.map((field) => (
        <div key={field.name}>
          <dt>{field.name}</dt>
          <Sides before={field.old} after={field.new} />
        </div>
      ))}
    </dl>
  );
}

/** A task that came or went. */
function Whole({ task }: { task: Task }) {
  return (
    <dl className="facts-of">
      {FIELDS.map(({ name, of }) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd className="difference-text">{of(task) ?? <None />}</dd>
        </div>
      ))}
    </dl>
  );
}

function Sides({ before, after }: { before: string | null; after: string | null }) {
  const pieces = difference(before ?? "", after ?? "");
  return (
    <>
      <dd>
        <span className="difference-side">Before</span>
        <span className="difference-text">{before === null ? <None /> : <Pieces pieces={pieces} without="new" />}</span>
      </dd>
      <dd>
        <span className="difference-side">After</span>
        <span className="difference-text">{after === null ? <None /> : <Pieces pieces={pieces} without="old" />}</span>
      </dd>
    </>
  );
}

/** Both texts in one. */
export function Edited({ before, after }: { before: string; after: string }) {
  return <Pieces pieces={difference(before, after)} />;
}

function Pieces({ pieces, without }: { pieces: Piece[]; without?: "old" | "new" }) {
  return pieces.map(({ kind, text }, at) => {
    if (kind === without) return null;
    if (kind === "old") return <del key={at}>{text}</del>;
    if (kind === "new") return <ins key={at}>{text}</ins>;
    return <span key={at}>{text}</span>;
  });
}

const None = () => <span className="hint">None</span>;
