// Figures over time: the chart, its readout, and the table that says the same.

import { get } from "./api.js";
import { fillRows, setText } from "./bind.js";
import { Chart } from "./chart.js";
import * as format from "./format.js";
import { asked, change, range } from "./state.js";

const section = document.getElementById("series");
// Of all time, as far back as a chart reads well.
const LONGEST = { hour: "-30d", day: "-365d", week: "-520w" };

const isKnown = (row) => row.sent !== null || row.bounced !== null || row.replied !== null;

// Of all time, what was before anything is known is left out.
function sinceTheFirst(rows) {
  const first = rows.findIndex(isKnown);
  return rows.slice(Math.max(0, first));
}

export function stateOf(row) {
  if (row.time === null) return "time not known";
  if (!row.ended) return "running";
  if (row.settled) return "settled";
  if (row.settled === null) return "not known";
  return row.coverage !== null && row.coverage < 1 ? "in a gap" : "may still change";
}

export function series(which, changed) {
  const chart = new Chart(section.querySelector(".chart"), section.querySelector(".readout"));
  const buttons = section.querySelectorAll("[data-interval]");
  const mark = () => buttons.forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.interval === asked("interval"))));
  for (const button of buttons) {
    button.addEventListener("click", () => {
      change({ interval: button.dataset.interval });
      mark();
      changed();
    });
  }
  mark();
  let last = null;
  const load = async (isLast) => {
    const { from, to, whole } = range();
    const interval = asked("interval");
    const answer = await get("v1/series", { ...which, interval, from: whole ? LONGEST[interval] : from, to, timezone: asked("timezone") });
    if (!isLast()) return answer;
    const data = whole ? sinceTheFirst(answer.data) : answer.data;
    const view = { interval, zone: asked("timezone"), settledUntil: answer.settled_until };
    const seen = JSON.stringify([data, view]);
    if (seen !== last) {
      last = seen;
      section.querySelector(".nothing").hidden = data.some(isKnown);
      chart.draw(data, view);
      const rows = data.map((row) => ({ ...row, state: stateOf(row), bucket: { time: row.time, interval } })).reverse();
      fillRows(section.querySelector("tbody"), rows, (row) => row.time);
    }
    return answer;
  };
  return { element: section, load };
}

export function told(row, interval) {
  const parts = [`sent ${format.count(row.sent)}`, `bounced ${format.count(row.bounced)}`, `replied ${format.count(row.replied)}`];
  if (row.lost) parts.push(`lost ${format.count(row.lost)}`);
  return `${format.bucket(row.time, interval)}: ${parts.join(", ")} · ${stateOf(row)}`;
}
