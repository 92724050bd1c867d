// Fourteen days of sending as a small line, asked for when its row comes into view.

import { get } from "./api.js";
import { now } from "./clock.js";
import { asked } from "./state.js";
import * as format from "./format.js";

const AT_ONCE = 40;
const WIDTH = 112;
const HEIGHT = 24;
const SVG = "http://www.w3.org/2000/svg";

const FRESH_MS = 60000;

const wanted = new Set();
const drawn = new Map();
let waiting = null;
let loading = false;

const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const cell = entry.target;
    if (entry.isIntersecting) wanted.add(cell);
    else wanted.delete(cell);
  }
  waiting ??= setTimeout(refresh, 50);
}, { rootMargin: "200px" });

export function watch(cell) {
  watcher.observe(cell);
}

// Those in view again, in another zone.
export function reload() {
  drawn.clear();
  return refresh();
}

const isDue = (cell) => cell.isConnected && !(now() - drawn.get(cell) < FRESH_MS);

// Those in view that were never drawn, or not of late; one question at a time.
export async function refresh() {
  waiting = null;
  if (loading) return;
  loading = true;
  const cells = new Map([...wanted].filter(isDue).map((cell) => [cell.closest("tr").dataset.key, cell]));
  const ids = [...cells.keys()];
  for (let from = 0; from < ids.length; from += AT_ONCE) await part(ids.slice(from, from + AT_ONCE), cells);
  loading = false;
}

async function part(ids, cells) {
  const query = { campaign_id: ids, group_by: "campaign", figures: "sent", from: "-13d", timezone: asked("timezone") };
  let answer;
  try {
    answer = await get("v1/series", query, null);
  } catch {
    return; // the page's own round says what is wrong, and the next one asks again
  }
  const byId = Map.groupBy ? Map.groupBy(answer.data, (row) => row.campaign_id) : grouped(answer.data);
  for (const id of ids) {
    drawn.set(cells.get(id), now());
    draw(cells.get(id), (byId.get(id) ?? []).map((row) => row.sent));
  }
}

function grouped(rows) {
  const found = new Map();
  for (const row of rows) found.set(row.campaign_id, [...(found.get(row.campaign_id) ?? []), row]);
  return found;
}

function draw(cell, values) {
  const svg = document.createElementNS(SVG, "svg");
  const most = Math.max(1, ...values.map((value) => value ?? 0));
  const places = values.map((value, at) => (value === null ? null : [2 + (at * (WIDTH - 4)) / Math.max(1, values.length - 1), HEIGHT - 3 - (value * (HEIGHT - 6)) / most]));
  let pen = "M";
  const path = places.map((place) => {
    const step = place ? `${pen}${place.map((one) => one.toFixed(1)).join(" ")}` : "";
    pen = place ? "L" : "M";
    return step;
  });
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `Sent by day: ${values.map(format.count).join(", ")}`);
  for (const [name, d] of [["ground", `M2 ${HEIGHT - 3}H${WIDTH - 2}`], ["line", path.join("")]]) {
    const stroke = document.createElementNS(SVG, "path");
    stroke.setAttribute("class", name);
    stroke.setAttribute("d", d);
    svg.append(stroke);
  }
  cell.replaceChildren(svg);
}
