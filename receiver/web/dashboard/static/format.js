// Figures and times in the reader's language, and in the zone that was picked.

import { now } from "./clock.js";
import { asked } from "./state.js";

export const DASH = "–";

const LOCALE = navigator.languages?.length ? [...navigator.languages] : undefined;
const counts = new Intl.NumberFormat(LOCALE);
const changes = new Intl.NumberFormat(LOCALE, { signDisplay: "exceptZero" });
const shares = new Intl.NumberFormat(LOCALE, { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 });
const points = new Intl.NumberFormat(LOCALE, { signDisplay: "exceptZero", minimumFractionDigits: 1, maximumFractionDigits: 1 });

const known = (format) => (value) => (value === null || value === undefined ? DASH : format(value));

export const count = known((value) => counts.format(value));
export const change = known((value) => changes.format(value));
export const share = known((value) => shares.format(value));
export const shareOf = (value, of) => (value === null ? "rate not known" : `${share(value)} of ${of}`);
export const point = known((value) => `${points.format(value * 100)} pp`);
export const words = known((value) => String(value).replaceAll("_", " "));

const formats = new Map();

function dates(options) {
  const key = JSON.stringify([options, asked("timezone")]);
  if (!formats.has(key)) formats.set(key, new Intl.DateTimeFormat(LOCALE, { ...options, timeZone: asked("timezone") }));
  return formats.get(key);
}

const THIS_YEAR = { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" };

export const time = known((value) => {
  const moment = new Date(value);
  const old = Math.abs(now() - moment) > 300 * 86400e3;
  return dates(old ? { ...THIS_YEAR, year: "numeric" } : THIS_YEAR).format(moment);
});

const DAY = { weekday: "short", month: "short", day: "numeric" };

// A stretch of time by its beginning: an hour with its time of day, a day or a week without.
export const bucket = (value, interval) => {
  if (!value) return DASH;
  if (interval === "hour") return time(value);
  return `${interval === "week" ? "Week of " : ""}${dates(DAY).format(new Date(value))}`;
};

// The same, as short as an axis needs it.
export function tick(value, interval) {
  const moment = new Date(value);
  const atMidnight = dates({ hour: "numeric", hourCycle: "h23" }).format(moment) % 24 === 0;
  return dates(interval !== "hour" || atMidnight ? { month: "short", day: "numeric" } : { hour: "numeric", minute: "2-digit" }).format(moment);
}

// How long it is, or was, until a moment: `3 h 12 min`.
export function span(ms) {
  const minutes = Math.floor(Math.abs(ms) / 60000);
  if (minutes >= 2880) return `${count(Math.floor(minutes / 1440))} days`;
  if (minutes >= 60) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return minutes ? `${minutes} min` : `${Math.floor(Math.abs(ms) / 1000)} s`;
}

// What a deadline means, before and after it: of an alarm of this code.
const DEADLINES = {
  not_accepting: ["the first events are lost in", "events are lost since"],
  still_expected: ["what was refused may still come for", "what did not come is lost since"],
};

export function countdown(deadline, code) {
  if (!deadline) return "";
  const [before, after] = DEADLINES[code] ?? ["lost for good in", "lost for good since"];
  const left = new Date(deadline) - now();
  return left > 0 ? `· ${before} ${span(left)}, until ${time(deadline)}` : `· ${after} ${time(deadline)}`;
}
