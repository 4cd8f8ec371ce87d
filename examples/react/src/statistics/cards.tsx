// The figures of a week, and those of now.
import type { Week } from "./weeks";

interface Props {
  week: Week;
  before: Week | undefined;
  open: number;
  completed: number;
}

export function Cards({ week, before, open, completed }: Props) {
  return (
    <dl className="cards">
      <Card name="Created" figure={week.created} note={comparison(week.created, before?.created)} />
      <Card name="Completed" figure={week.completed} note={comparison(week.completed, before?.completed)} />
      <Card name="Open now" figure={open} note={open === 0 ? "All is done" : "Still to be done"} />
      <Card name="Completed in total" figure={completed} note={`${share(completed, open)} of all tasks`} />
    </dl>
  );
}

function Card({ name, figure, note }: { name: string; figure: number; note: string }) {
  return (
    <div className="card">
      <dt>{name}</dt>
      <dd className="figure">{number.format(figure)}</dd>
      <dd className="hint">{note}</dd>
    </div>
  );
}

const number = new Intl.NumberFormat();
const percent = new Intl.NumberFormat(undefined, { style: "percent" });

const share = (completed: number, open: number) => percent.format(completed / (completed + open));

function comparison(figure: number, before = 0): string {
  const difference = figure - before;
  if (difference === 0) return "As many as the week before";
  return `${number.format(Math.abs(difference))} ${difference > 0 ? "more" : "fewer"} than the week before`;
}
