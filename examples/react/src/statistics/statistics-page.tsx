// The statistics of any week, and of the twelve that end with it, in the person's time zone.
import { Link, useSearchParams } from "react-router";
import { dateOr, isoDate, TIME_ZONE } from "../ui/times";
import { Trouble } from "../ui/trouble";
import { Waiting } from "../ui/waiting";
import { Chart } from "./chart";
import { useDays, useTotals } from "./figures";
import { ChartTable } from "./chart-table";
import { Cards } from "./cards";
import { WeekPicker } from "./week-picker";
import {
  firstDayOfWeek,
  formatDate,
  formatWeek,
  formatWeekday,
  formatWeekdayShort,
  weekOf,
  WEEKS,
  weeksOf,
} from "./weeks";
import "./statistics.css";

const FIRST_DAY = firstDayOfWeek(Intl.DateTimeFormat().resolvedOptions().locale);

export default function StatisticsPage() {
  const [params, setParams] = useSearchParams();
  const today = isoDate(new Date());
  const date = dateOr(params.get("date")) || today;
  const totals = useTotals();

  return (
    <>
      <div className="page-head">
        <h1>Statistics</h1>
        <WeekPicker
          date={date}
          today={today}
          firstDay={FIRST_DAY}
          onPick={(picked) => setParams(picked === today ? {} : { date: picked })}
        />
      </div>
      {totals.data === undefined ? (
        <NotYet error={totals.error} reason={totals.failureReason} onRetry={() => void totals.refetch()} />
      ) : totals.data.total_tasks === 0 ? (
        <NoTasks />
      ) : (
        <WeekStatistics
          week={weekOf(date, FIRST_DAY)}
          thisWeek={weekOf(today, FIRST_DAY)}
          open={totals.data.total_incomplete}
          completed={totals.data.total_completed}
          onPick={(picked) => setParams({ date: picked })}
        />
      )}
    </>
  );
}

interface Props {
  week: string;
  thisWeek: string;
  /** Now, and in total. */
  open: number;
  completed: number;
  onPick: (week: string) => void;
}

function WeekStatistics({ week, thisWeek, open, completed, onPick }: Props) {
  const query = useDays(week);
  const weeks = query.data && weeksOf(query.data);
  const chosen = weeks?.at(-1);
  if (query.data === undefined || weeks === undefined || chosen === undefined) {
    return <NotYet error={query.error} reason={query.failureReason} onRetry={() => void query.refetch()} />;
  }
  const isShown = !query.isPlaceholderData;
  const days = query.data.slice(-7);
  return (
    <>
      <section className="week" aria-busy={!isShown} aria-labelledby="week-title">
        <h2 id="week-title">
          {formatWeek(week)} {week === thisWeek && <span className="badge">This week</span>}
        </h2>
        <Cards week={chosen} before={weeks.at(-2)} open={open} completed={completed} />
      </section>
      <p className="visually-hidden" role="status">
        {isShown && `${formatWeek(week)}: ${chosen.created} created, ${chosen.completed} completed.`}
      </p>

      <section className="card chart-card" aria-busy={!isShown} aria-labelledby="days-title">
        <h2 id="days-title">Day by day</h2>
        <Chart
          label={`Bars: tasks created and completed on each day, ${formatWeek(chosen.start)}.`}
          data={days.map((day) => ({ ...day, key: day.date, tick: formatWeekdayShort(day.date) }))}
        />
        <ChartTable
          caption={`Tasks created and completed on each day, ${formatWeek(chosen.start)}`}
          unit="Day"
          rows={days.map((day) => ({
            ...day,
            key: day.date,
            name: `${formatWeekday(day.date)}, ${formatDate(day.date)}`,
          }))}
        />
      </section>

      <section className="card chart-card" aria-busy={!isShown} aria-labelledby="weeks-title">
        <h2 id="weeks-title">Week by week</h2>
        <p className="hint">Choose a week to open it.</p>
        <Chart
          label={`Bars: tasks created and completed in each of ${WEEKS} weeks, up to ${formatWeek(chosen.start)}.`}
          data={weeks.map((each) => ({ ...each, key: each.start, tick: formatDate(each.start) }))}
          onPick={onPick}
        />
        <ChartTable
          caption={`Tasks created and completed in each of ${WEEKS} weeks`}
          unit="Week"
          rows={weeks.map((each) => ({ ...each, key: each.start, name: formatWeek(each.start) }))}
          onPick={onPick}
        />
      </section>
      <p className="hint">
        Days are those of {TIME_ZONE.replaceAll("_", " ")}. Tasks that were deleted are not counted.
      </p>
    </>
  );
}

function NoTasks() {
  return (
    <section className="card empty">
      <h2>No tasks to count</h2>
      <p>Here you will see how many tasks you create and complete. Those that were deleted are not counted.</p>
      <p>
        <Link to="/">Add a task</Link>
      </p>
    </section>
  );
}

interface NotYetProps {
  error: Error | null;
  /** Why there is no answer yet. */
  reason: Error | null;
  onRetry: () => void;
}

function NotYet({ error, reason, onRetry }: NotYetProps) {
  if (error === null) return <Waiting reason={reason}>Counting…</Waiting>;
  return <Trouble error={error} advice="Choose another week." onRetry={onRetry} />;
}
