// A time in the page: how long ago, with the exact time at hand.
import { formatAge, formatExactTime } from "./times";

export function Time({ time, className }: { time: string; className?: string }) {
  return (
    <time dateTime={time} title={formatExactTime(time)} className={className}>
      {formatAge(time)}
    </time>
  );
}
