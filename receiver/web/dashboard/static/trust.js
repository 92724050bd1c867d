// How far the figures can be trusted: alarms, freshness, definitions, gaps, quarantine, comparisons.

import { get } from "./api.js";
import { fill, fillRows, setText } from "./bind.js";
import { showGaps } from "./gaps.js";
import { Live } from "./live.js";
import { pickers } from "./pickers.js";
import { quarantine } from "./quarantine.js";
import { titled } from "./names.js";
import { evidence, meaning, stamping } from "./words.js";

const part = (name) => document.getElementById(name);
const DRIFT = ["v1/drift", { gaps: "all", limit: 2000 }];

// A gap is lost for good when the last retry of what was sent at its end is over.
function deadlineOf(alarm, { gaps, as_of, settled_until }) {
  if (alarm.deadline || alarm.code !== "overdue") return alarm.deadline;
  const ends = gaps.filter((gap) => gap.campaign_id === alarm.campaign_id && gap.state === "overdue").map((gap) => Date.parse(gap.to));
  if (!ends.length) return null;
  return new Date(Math.min(...ends) + Date.parse(as_of) - Date.parse(settled_until)).toISOString();
}

async function loadAlarms(isLast) {
  const answer = await get(...DRIFT);
  if (!isLast()) return answer;
  const count = part("alarm-count");
  setText(count, String(answer.alarms.length));
  count.value = String(answer.alarms.length);
  const alarms = (await titled(answer.alarms)).map((alarm) => ({ ...alarm, left: { deadline: deadlineOf(alarm, answer), code: alarm.code } }));
  fillRows(document.querySelector("ul.alarms"), alarms, (alarm) => [alarm.code, alarm.campaign_id, alarm.since].join(" "));
  return answer;
}

async function loadDefinitions(isLast) {
  const answer = await get(...DRIFT);
  if (!isLast()) return answer;
  const rows = ["sent", "bounced", "replied"].map((figure) => ({
    figure,
    meaning: meaning(figure, answer.definitions[figure]),
    evidence: evidence(figure, answer.definitions.evidence[figure]),
  }));
  fillRows(document.querySelector("#definition-rows tbody"), rows, (row) => row.figure);
  return answer;
}

async function loadGaps(isLast) {
  const answer = await get(...DRIFT);
  if (isLast()) await showGaps(part("gap-list"), answer.gaps, titled);
  return answer;
}

async function loadRuns(isLast) {
  const answer = await get("v1/reconciliations", { limit: 10 });
  if (!isLast()) return answer;
  const rows = answer.data.map((run) => ({ ...run, errors_text: run.errors.slice(0, 3).map((error) => error.detail).join(" ") }));
  fillRows(document.querySelector("#run-rows tbody"), rows, (run) => run.id);
  return answer;
}

async function loadFreshness(isLast) {
  const newest = { sort: "last_event_at", order: "desc", limit: 1 };
  const [drift, campaigns, runs] = await Promise.all([get(...DRIFT), get("v1/campaigns", newest), get("v1/reconciliations", { limit: 10 })]);
  if (!isLast()) return drift;
  fill(part("freshness"), {
    ...drift,
    stamping: stamping(drift.timestamps),
    newest_event: campaigns.data[0]?.last_event_at ?? null,
    last_run: runs.data.find((run) => run.ended_at !== null)?.ended_at ?? null,
    oldest_snapshot: drift.data.map((row) => row.snapshot_at).filter(Boolean).sort()[0] ?? null,
  });
  return drift;
}

const changed = () => live.refresh();
pickers(changed);
const live = new Live([
  { element: part("alarms"), load: loadAlarms },
  { element: part("freshness"), load: loadFreshness },
  { element: part("definitions"), load: loadDefinitions },
  { element: part("gap-list"), load: loadGaps },
  quarantine(changed),
  { element: part("runs"), load: loadRuns },
]);
