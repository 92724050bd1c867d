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

function dates(options, timeZone = knownZone()) {
  const key = JSON.stringify([options, timeZone]);
  if (!formats.has(key)) formats.set(key, new Intl.DateTimeFormat(LOCALE, { ...options, timeZone }));
  return formats.get(key);
}

// The zone that was picked, or UTC where this browser is older than the zone.
export function knownZone() {
  try {
    return new Intl.DateTimeFormat(LOCALE, { timeZone: asked("timezone") }) && asked("timezone");
  } catch {
    return "UTC";
  }
}

const DAY_AND_HOUR = { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" };
const DAY = { month: "short", day: "numeric" };

const withYear = (options, moment) => (Math.abs(now() - moment) > 300 * 86400e3 ? { ...options, year: "numeric" } : options);

export const time = known((value) => {
  const moment = new Date(value);
  return dates(withYear(DAY_AND_HOUR, moment)).format(moment);
});

// As the clock on the wall says at the beginning of a stretch: the receiver knows the zone, this browser need not.
function onTheWall(options, value) {
  return dates(withYear(options, new Date(value)), "UTC").format(new Date(`${value.slice(0, 19)}Z`));
}

// A stretch of time by its beginning: an hour with its time of day, a day or a week without.
export const bucket = (value, interval) => {
  if (!value) return DASH;
  if (interval === "hour") return onTheWall(DAY_AND_HOUR, value);
  return `${interval === "week" ? "Week of " : ""}${onTheWall({ weekday: "short", ...DAY }, value)}`;
};

// The same, as short as an axis needs it.
export function tick(value, interval) {
  if (interval !== "hour" || value.includes("T00:00")) return onTheWall(DAY, value);
  return dates({ hour: "numeric", minute: "2-digit" }, "UTC").format(new Date(`${value.slice(0, 19)}Z`));
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
