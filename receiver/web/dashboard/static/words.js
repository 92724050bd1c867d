// Says in words why Leadterra's counter and the ledger differ, and what its counters mean.

import * as format from "./format.js";

const are = (n) => `${format.count(n)} ${n === 1 ? "is" : "are"}`;
const over = (n) => format.count(Math.abs(n));

function stretches(gaps) {
  return gaps.map((gap) => `between ${format.time(gap.from)} and ${format.time(gap.to)}`).join(" and ");
}

const SENTENCES = {
  before_receiver: (n) => `${are(n)} older than this receiver`,
  definition: (n) => `${over(n)} ${n > 0 ? "more" : "fewer"}, because Leadterra counts something else under this name`,
  skew: (n) => `${over(n)} ${n > 0 ? "ahead of" : "behind"} us for the moment, by clocks or a slow counter`,
  quarantined: (n) => `${are(n)} in quarantine`,
  settling: (n) => `${are(n)} still settling`,
  not_accepting: (n, gaps) => {
    const when = stretches(gaps.filter((gap) => gap.cause === "not_accepting" && ["missing", "overdue"].includes(gap.state)).slice(0, 3));
    return `${are(n)} lost: the receiver did not accept${when ? ` ${when}` : ""}`;
  },
  unexplained: (n) => (n > 0 ? `${are(n)} missing, and nothing here explains it` : `${over(n)} more here than Leadterra counts`),
};

// `parts` is the drift of one figure, `gaps` are those of this campaign and figure.
export function why(parts, gaps) {
  if (!parts) return "Leadterra has not told this yet.";
  const said = Object.entries(SENTENCES)
    .filter(([part]) => parts[part])
    .map(([part, sentence]) => sentence(parts[part], gaps));
  if (!said.length) return "Nothing differs.";
  const text = said.join("; ");
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

const MEANINGS = {
  sent: { sent: "messages sent", delivered: "messages sent, less those that bounced", "delivered+bounced": "messages delivered or bounced" },
  bounced: { any: "hard and soft bounces", hard: "hard bounces only" },
  replied: { all: "leads with any reply", human: "leads with a reply of a human" },
};

export const meaning = (figure, name) => MEANINGS[figure][name] ?? "not found out yet";

const STAMPINGS = {
  stable: "keep the time of the event",
  restamped: "carry the time of the retry",
  undetermined: "not found out yet",
};

export const stamping = (name) => STAMPINGS[name] ?? name;

export function evidence(figure, found) {
  if (found.pinned) return "Given by the settings.";
  if (!found.intervals) return "No stretch of time has told the meanings apart yet.";
  const fits = Object.entries(found.fits).map(([name, n]) => `“${meaning(figure, name)}” fits ${format.count(n)}`).join(", ");
  return `${format.count(found.intervals)} stretches of ${format.count(found.campaigns)} campaigns: ${fits}.`;
}
