// One campaign: its figures, where people drop out, what bounces, and how it stands against Leadterra.

import { get } from "./api.js";
import { fill, fillRows, meter, setText } from "./bind.js";
import * as format from "./format.js";
import { showGaps } from "./gaps.js";
import { Live } from "./live.js";
import { pickers } from "./pickers.js";
import { series } from "./series.js";
import { asked, range } from "./state.js";
import { why } from "./words.js";

const id = asked("campaign_id");
const path = `v1/campaigns/${encodeURIComponent(id)}`;
const part = (name) => document.getElementById(name);

async function loadFigures(isLast) {
  const answer = await get(path);
  if (!isLast()) return answer;
  fill(part("totals"), answer);
  fill(part("about"), answer);
  setText(part("title"), (answer.name ?? answer.campaign_id).slice(0, 300));
  return answer;
}

async function loadSteps(isLast) {
  const answer = await get(`${path}/steps`);
  if (!isLast()) return answer;
  const most = Math.max(0, ...answer.data.map((row) => row.sent ?? 0));
  const first = answer.data.find((row) => row.step !== null)?.sent;
  const rows = answer.data.map((row) => ({
    ...row,
    label: row.step === null ? "Not known" : String(row.step),
    kept: first && row.step !== null && row.sent !== null ? row.sent / first : null,
  }));
  fillRows(document.querySelector("#step-rows tbody"), rows, (row) => row.label, (element, row) => meter(element, row.sent ?? 0, most));
  return answer;
}

function breakdown(name, source, query, labelOf, figure) {
  const element = part(name);
  const load = async (isLast) => {
    const { from, to, whole } = range();
    const answer = await get(source, { ...query, campaign_id: id, from, to: whole ? null : to, limit: 12 });
    if (!isLast()) return answer;
    const rows = answer.data.map((row) => ({ ...row, label: labelOf(row) ?? "Not known" }));
    const most = Math.max(0, ...rows.map((row) => row[figure]));
    if (answer.other) rows.push({ ...answer.other, label: `${format.count(answer.other.groups)} others`, rest: true });
    fillRows(element.querySelector("tbody"), rows, (row) => row.label, (line, row) => meter(line, row.rest ? 0 : row[figure], most));
    return answer;
  };
  return { element, load };
}

async function loadSides(isLast) {
  const [answer, drift] = await Promise.all([get(path), get(`${path}/drift`)]);
  if (!isLast()) return answer;
  for (const row of document.querySelectorAll("#side-rows tbody tr")) {
    const figure = row.dataset.figure;
    fill(row, answer);
    const gaps = drift.gaps.filter((gap) => gap.figure === figure);
    setText(row.querySelector("[data-drift]"), why(answer.drift[figure], gaps));
  }
  const { provider } = answer;
  const stale = provider?.stale ? " The last attempt to ask failed." : "";
  setText(part("asked-at"), provider ? `Leadterra was asked ${format.time(provider.fetched_at)}.${stale} Reconciled is what is observed, what is older than the receiver, and what is known to be missing.` : "Leadterra has not been asked about this campaign yet.");
  await showGaps(part("sides"), drift.gaps);
  return answer;
}

const changed = () => live.refresh();
pickers(changed);
const live = new Live([
  { element: part("totals"), load: loadFigures },
  series({ campaign_id: id }, changed),
  { element: part("steps"), load: loadSteps },
  breakdown("reasons", "v1/bounces", { group_by: "reason" }, (row) => row.reason, "bounced"),
  breakdown("domains", "v1/bounces", { group_by: "domain" }, (row) => row.domain, "bounced"),
  breakdown("replies", "v1/replies", {}, (row) => row.classification && format.words(row.classification), "replies"),
  { element: part("sides"), load: loadSides },
]);
