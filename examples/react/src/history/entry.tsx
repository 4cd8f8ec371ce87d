// One entry of the history: a sentence that opens what has changed, and a way to undo it.
import { memo, useId, useState, type ReactNode } from "react";
import { Link } from "react-router";
import type { ActionType, HistoryEntry } from "../api/client";
import { CheckIcon, ClockIcon, PencilIcon, PlusIcon, RightIcon, TrashIcon, UndoIcon } from "../ui/icons";
import { Time } from "../ui/time";
import { formatClock, formatExactTime } from "../ui/times";
import { Trouble } from "../ui/trouble";
import { Waiting } from "../ui/waiting";
import { Difference } from "./difference";
import { useBeforeAndAfter } from "./entries";
import { addressOf, type Filters } from "./filters";
import { isUndo, tell, whoIs } from "./words";

const ICONS: Record<ActionType, () => ReactNode> = {
  CREATED: PlusIcon,
  UPDATED: PencilIcon,
  COMPLETED: CheckIcon,
  INCOMPLETED: ClockIcon,
  DELETED: TrashIcon,
  RESTORED: UndoIcon,
};

/** What the person asks to undo: a change, a run, or what somebody did. */
export type Undoing = { entry: HistoryEntry } | { change_set: string } | { filters: Filters };

interface Props {
  entry: HistoryEntry;
  onUndo: (undoing: Undoing) => void;
}

export const Entry = memo(function Entry({ entry, onUndo }: Props) {
  const [isOpen, setOpen] = useState(false);
  const id = useId();
  const Icon = ICONS[entry.action_type];
  return (
    <li className="history-entry">
      <span className="entry-mark" data-action={entry.action_type}>
        <Icon />
      </span>
      <button
        type="button"
        className="quiet entry-summary"
        aria-expanded={isOpen}
        aria-controls={isOpen ? id : undefined}
        onClick={() => setOpen(!isOpen)}
      >
        <Summary entry={entry} />
        <RightIcon />
      </button>
      <button
        type="button"
        className="quiet entry-undo"
        aria-label={`Undo: ${whoIs(entry.actor)} ${tell(entry).did} ${entry.task_title}`}
        onClick={() => onUndo({ entry })}
      >
        <UndoIcon />
        <span className="entry-undo-name">Undo</span>
      </button>
      {isOpen && (
        <div id={id} className="entry-opened">
          <Changed entry={entry} />
          <About entry={entry} />
          <div className="entry-more">
            <Link className="button" to={addressOf({ task_id: entry.task_id })}>
              Only this task
            </Link>
            {entry.actor !== null && (
              <Link className="button long" to={addressOf({ actor: entry.actor })}>
                Only by {entry.actor}
              </Link>
            )}
            {entry.change_set !== null && <Run change_set={entry.change_set} onUndo={onUndo} />}
          </div>
        </div>
      )}
    </li>
  );
});

function Summary({ entry }: { entry: HistoryEntry }) {
  const { who, did, from, details } = tell(entry);
  return (
    <span className="entry-words">
      <span className="entry-sentence long">
        {who} {did} {from !== undefined && <bdi className="entry-former">{from}</bdi>} {from !== undefined && "to "}
        <strong>
          <bdi>{entry.task_title}</bdi>
        </strong>
      </span>
      {details !== undefined && <span className="entry-details long">{details}</span>}
      <span className="entry-facts">
        <Time time={entry.timestamp} format={formatClock} />
        {isUndo(entry) && <span className="badge">Undo</span>}
        {entry.change_set !== null && <span className="badge long">Run {entry.change_set}</span>}
      </span>
    </span>
  );
}

function Changed({ entry }: { entry: HistoryEntry }) {
  const found = useBeforeAndAfter(entry.task_id, entry.version);
  if (found.isPending) {
    return <Waiting reason={found.failureReason}>Loading…</Waiting>;
  }
  if (found.isError) return <Trouble error={found.error} onRetry={() => void found.refetch()} />;
  return <Difference {...found.data} />;
}

function About({ entry }: { entry: HistoryEntry }) {
  const facts = [
    ["When", formatExactTime(entry.timestamp)],
    ["Who", whoIs(entry.actor)],
    ["Version", String(entry.version)],
    ["Run", entry.change_set],
    ["Request", entry.request_id],
  ] as const;
  return (
    <dl className="facts-of">
      {facts.map(
        ([name, value]) =>
          value !== null && (
            <div key={name}>
              <dt>{name}</dt>
              <dd className="long">{value}</dd>
            </div>
          ),
      )}
    </dl>
  );
}

function Run({ change_set, onUndo }: { change_set: string; onUndo: Props["onUndo"] }) {
  return (
    <>
      <Link className="button" to={addressOf({ change_set })}>
        Only this run
      </Link>
      <button type="button" onClick={() => onUndo({ change_set })}>
        <UndoIcon />
        Undo this run…
      </button>
    </>
  );
}
