// Fourteen days of sending as a small line, asked for when its row comes into view.

import { get } from "./api.js";
import { asked } from "./state.js";
import * as format from "./format.js";

const AT_ONCE = 40;
const WIDTH = 112;
const HEIGHT = 24;
const SVG = "http://www.w3.org/2000/svg";

const wanted = new Set();
const drawn = new Set();
let waiting = null;

const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const cell = entry.target;
    if (entry.isIntersecting) wanted.add(cell);
    else wanted.delete(cell);
  }
  waiting ??= setTimeout(load, 50);
}, { rootMargin: "200px" });

export function watch(cell) {
  watcher.observe(cell);
}

// Those in view again, for a new day or zone.
export function reload() {
  drawn.clear();
  return load();
}

async function load() {
  waiting = null;
  const cells = new Map([...wanted].filter((cell) => cell.isConnected && !drawn.has(cell)).map((cell) => [cell.closest("tr").dataset.key, cell]));
  const ids = [...cells.keys()];
  for (let from = 0; from < ids.length; from += AT_ONCE) await part(ids.slice(from, from + AT_ONCE), cells);
}

async function part(ids, cells) {
  const query = { campaign_id: ids, group_by: "campaign", figures: "sent", from: "-13d", timezone: asked("timezone") };
  let answer;
  try {
    answer = await get("v1/series", query);
  } catch {
    return; // the page's own round says what is wrong
  }
  const byId = Map.groupBy ? Map.groupBy(answer.data, (row) => row.campaign_id) : grouped(answer.data);
  for (const id of ids) {
    drawn.add(cells.get(id));
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
