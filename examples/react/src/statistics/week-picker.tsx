// Which week it is: the one before, the next one, this one, or that of a date.
import { LeftIcon, RightIcon } from "../ui/icons";
import { useTyped } from "../ui/typed";
import { addDays, weekOf } from "./weeks";

interface Props {
  date: string;
  today: string;
  firstDay: number;
  onPick: (date: string) => void;
}

export function WeekPicker({ date, today, firstDay, onPick }: Props) {
  const isLast = weekOf(date, firstDay) >= weekOf(today, firstDay);
  const next = addDays(date, 7);
  return (
    <div className="week-picker">
      <DateField date={date} today={today} onPick={onPick} />
      <div className="week-steps">
        <button type="button" className="round" onClick={() => onPick(addDays(date, -7))}>
          <LeftIcon />
          <span className="visually-hidden">Previous week</span>
        </button>
        <button type="button" onClick={() => onPick(today)}>
          This week
        </button>
        <button type="button" className="round" disabled={isLast} onClick={() => onPick(next < today ? next : today)}>
          <RightIcon />
          <span className="visually-hidden">Next week</span>
        </button>
      </div>
    </div>
  );
}

function DateField({ date, today, onPick }: Omit<Props, "firstDay">) {
  const [typed, setTyped] = useTyped(date);
  return (
    <input
      type="date"
      aria-label="Week of"
      // While a year is typed, it is one of the first century.
      min="1970-01-01"
      max={today}
      value={typed}
      onChange={({ target }) => {
        setTyped(target.value);
        if (target.value !== "" && target.validity.valid) onPick(target.value);
      }}
    />
  );
}
