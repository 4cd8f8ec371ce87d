// Undoes a run, or everything that somebody did in a period.
import { useState } from "react";
import type { Undone } from "../api/client";
import { isoDate, midnight } from "../ui/times";
import { Conflicts } from "./conflicts";
import { Edited } from "./difference";
import { queryOf, type Filters } from "./filters";
import type { Chosen, Preview } from "./undo";
import { UndoDialog } from "./undo-dialog";
import { effectsOf, plural } from "./words";

const LABELS = { undoAll: "Undo everything", undoRest: "Undo all but the conflicts", done };

export function UndoRun({ change_set, onClose }: { change_set: string; onClose: () => void }) {
  return (
    <UndoDialog
      {...LABELS}
      title={`Undo the run ${change_set}`}
      chosen={{ change_set }}
      onClose={onClose}
      tooMuch="Undo it in parts: filter by who did it, and choose a period."
    >
      {(preview) => <Plan preview={preview} nothing="This run has changed nothing." />}
    </UndoDialog>
  );
}

export function UndoActor({ filters, onClose }: { filters: Filters; onClose: () => void }) {
  const { actor } = filters;
  const hasDates = filters.from !== "" || filters.to !== "";
  const [period, setPeriod] = useState<Period>(hasDates ? "dates" : "today");
  // "Last hour" is the hour before it was chosen.
  const [now, setNow] = useState(() => new Date());
  const offered = PERIODS.filter(({ value }) => value !== "dates" || hasDates);
  return (
    <UndoDialog
      {...LABELS}
      title={`Undo everything by ${actor}`}
      chosen={{ actor, ...timesOf(period, now, filters) }}
      onClose={onClose}
      tooMuch="Choose a shorter period."
      choice={
        <fieldset className="undo-periods">
          <legend className="label">From when on?</legend>
          {offered.map(({ value, name }) => (
            <label key={value}>
              <input
                type="radio"
                name="period"
                checked={period === value}
                onChange={() => {
                  setPeriod(value);
                  setNow(new Date());
                }}
              />
              {name}
            </label>
          ))}
        </fieldset>
      }
    >
      {(preview) => <Plan preview={preview} nothing={`${actor} has changed nothing in this time.`} />}
    </UndoDialog>
  );
}

type Period = "today" | "hour" | "week" | "dates";
const PERIODS: { value: Period; name: string }[] = [
  { value: "today", name: "Today" },
  { value: "hour", name: "Last hour" },
  { value: "week", name: "Last 7 days" },
  { value: "dates", name: "The dates of the filter" },
];
const HOUR = 3_600_000;

function timesOf(period: Period, now: Date, filters: Filters): Omit<Extract<Chosen, { actor: string }>, "actor"> {
  if (period === "today") return { since: midnight(isoDate(now)).toISOString() };
  if (period === "hour") return { since: new Date(now.getTime() - HOUR).toISOString() };
  if (period === "week") return { since: new Date(now.getTime() - 7 * 24 * HOUR).toISOString() };
  const { from, before } = queryOf(filters);
  return { since: from ?? new Date(0).toISOString(), ...(before !== undefined && { until: before }) };
}

function done({ changes, conflicts }: Undone): string {
  if (changes.length === 0) return "Nothing was left to undo.";
  const undone = `${plural(changes.length, "task is", "tasks are")} as before.`;
  if (conflicts.length === 0) return undone;
  return `${undone} ${plural(conflicts.length, "conflict was", "conflicts were")} left.`;
}

function Plan({ preview, nothing }: { preview: Preview; nothing: string }) {
  const { changes, conflicts } = preview.undone;
  if (preview.count === 0) return <p className="long">{nothing}</p>;
  if (changes.length === 0 && conflicts.length === 0) {
    return <p>There is nothing to undo: all of it is undone already.</p>;
  }
  const titleOf = (task_id: string) =>
    changes.find((change) => change.task_id === task_id)?.task?.title ?? preview.titles.get(task_id) ?? "A task";
  const conflictsOf = Map.groupBy(conflicts, ({ task_id }) => task_id);
  return (
    <>
      <p>
        {plural(preview.count, "change", "changes")} found. {plural(changes.length, "task goes", "tasks go")} back.
        {conflicts.length > 0 && ` ${plural(conflicts.length, "conflict stays", "conflicts stay")}.`}
      </p>
      {conflicts.length > 0 && (
        <section className="undo-section undo-conflicts">
          <h3>What stays as it is</h3>
          <ul className="undo-tasks">
            {[...conflictsOf].map(([task_id, all]) => (
              <li key={task_id}>
                <strong className="long" dir="auto">
                  {titleOf(task_id)}
                </strong>
                <Conflicts conflicts={all} />
              </li>
            ))}
          </ul>
        </section>
      )}
      {changes.length > 0 && (
        <section className="undo-section">
          <h3>What will happen</h3>
          {/* The keyboard can scroll what it can focus. */}
          <ul className="undo-tasks" tabIndex={0} aria-label="What will happen">
            {changes.map((change) => (
              <li key={change.task_id}>
                <strong className="long" dir="auto">
                  {change.task?.title ?? titleOf(change.task_id)}
                </strong>
                <Effects change={change} />
              </li>
            ))}
          </ul>
        </section>
      )}
    </>
  );
}

function Effects({ change }: { change: Undone["changes"][number] }) {
  return (
    <ul className="undo-sentences">
      {effectsOf(change).map(({ text, from }) => (
        <li key={text} className="long">
          {text} {from !== undefined && <Edited before={from} after={change.task?.title ?? ""} />}
        </li>
      ))}
    </ul>
  );
}
