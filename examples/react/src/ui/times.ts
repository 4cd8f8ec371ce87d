// Times and dates as the person's browser writes them, in its time zone.

export const TIME_ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;

const minute = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const second = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const day = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long", year: "numeric" });
const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });

export const formatTime = (time: string | Date) => minute.format(new Date(time));
export const formatExactTime = (time: string | Date) => second.format(new Date(time));
export const formatClock = (time: string | Date) => clock.format(new Date(time));
export const formatDay = (time: string | Date) => day.format(new Date(time));

/** `3 minutes ago`, `yesterday`; from a week on, the date and time. */
export function formatAge(time: string, now = Date.now()): string {
  const seconds = (new Date(time).getTime() - now) / 1000;
  if (seconds > -45) return "just now";
  if (seconds > -3600) return relative.format(Math.ceil(seconds / 60) || -1, "minute");
  if (seconds > -86_400) return relative.format(Math.ceil(seconds / 3600), "hour");
  const days = daysBetween(new Date(now), new Date(time));
  if (days > -7) return relative.format(days, "day");
  return formatTime(time);
}

/** By midnights: yesterday evening is yesterday, not today. */
function daysBetween(from: Date, to: Date): number {
  return Math.round((midnight(isoDate(to)).getTime() - midnight(isoDate(from)).getTime()) / 86_400_000);
}

/** A local date as YYYY-MM-DD. */
export function isoDate(date: Date): string {
  const two = (number: number) => String(number).padStart(2, "0");
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

/** A YYYY-MM-DD that there is, of years that a person means; any other text is "". */
export function dateOr(text: string | null): string {
  // Date takes the 31st of February for a day in March.
  const isDate = text !== null && /^[1-8]\d{3}-\d\d-\d\d$/.test(text) && isoDate(midnight(text)) === text;
  return isDate ? text : "";
}

/** The local midnight that begins a YYYY-MM-DD, so many days later. */
export function midnight(date: string, later = 0): Date {
  const result = new Date(`${date}T00:00`);
  result.setDate(result.getDate() + later);
  return result;
}
