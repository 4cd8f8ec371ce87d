// Weeks of local dates, as YYYY-MM-DD. A date has no hours, so no change of the clocks can move it.

/** How many weeks the statistics look back: 84 days, of at most 92 that the API counts at once. */
export const WEEKS = 12;

export interface Day {
  date: string;
  created: number;
  completed: number;
}

export interface Week {
  /** Its first day. */
  start: string;
  created: number;
  completed: number;
}

/** From 1 (Monday) to 7 (Sunday), as people in this part of the world begin the week. */
export function firstDayOfWeek(language: string): number {
  const locale = new Intl.Locale(language) as { getWeekInfo?: () => WeekInfo; weekInfo?: WeekInfo };
  // Where the browser knows neither, the week begins on Monday, as in ISO 8601.
  return (locale.getWeekInfo?.() ?? locale.weekInfo)?.firstDay ?? 1;
}

interface WeekInfo {
  firstDay: number;
}

export function addDays(date: string, days: number): string {
  const time = utc(date);
  time.setUTCDate(time.getUTCDate() + days);
  return time.toISOString().slice(0, 10);
}

/** The first day of the week that holds the date. */
export function weekOf(date: string, firstDay: number): string {
  return addDays(date, -((utc(date).getUTCDay() - firstDay + 7) % 7));
}

/** The sums of whole weeks: of each seven days, beginning with the first one. */
export function weeksOf(days: Day[]): Week[] {
  const weeks: Week[] = [];
  for (const [place, { date, created, completed }] of days.entries()) {
    if (place % 7 === 0) weeks.push({ start: date, created: 0, completed: 0 });
    const week = weeks.at(-1);
    if (week === undefined) continue;
    week.created += created;
    week.completed += completed;
  }
  return weeks;
}

const long = new Intl.DateTimeFormat(undefined, { dateStyle: "long", timeZone: "UTC" });
const short = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", timeZone: "UTC" });
const weekday = new Intl.DateTimeFormat(undefined, { weekday: "long", timeZone: "UTC" });
const weekdayShort = new Intl.DateTimeFormat(undefined, { weekday: "short", timeZone: "UTC" });

/** `23 – 29 November 2026`. */
export const formatWeek = (start: string) => long.formatRange(utc(start), utc(addDays(start, 6)));
export const formatDate = (date: string) => short.format(utc(date));
export const formatWeekday = (date: string) => weekday.format(utc(date));
export const formatWeekdayShort = (date: string) => weekdayShort.format(utc(date));

const utc = (date: string) => new Date(`${date}T00:00Z`);
