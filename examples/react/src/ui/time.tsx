// A time in the page: how long ago, or in another format; with the exact time at hand.
import { formatAge, formatExactTime } from "./times";

export function Time({ time, format = formatAge }: { time: string; format?: (time: string) => string }) {
  return (
    <time dateTime={time} title={formatExactTime(time)}>
      {format(time)}
    </time>
  );
}
