// The overview: totals, figures over time, campaigns.

import { get } from "./api.js";
import { fill, setText } from "./bind.js";
import { campaigns } from "./campaigns.js";
import { Live } from "./live.js";
import { pickers } from "./pickers.js";
import { series } from "./series.js";
import * as spark from "./spark.js";
import { asked, range } from "./state.js";

const totals = document.getElementById("totals");

async function loadTotals(isLast) {
  const { from, to, whole } = range();
  const compare = whole ? null : "previous";
  const answer = await get("v1/summary", { from, to, timezone: asked("timezone"), compare });
  if (!isLast()) return answer;
  fill(totals, answer);
  const against = whole ? "All time: there is nothing before it to compare with." : "Change against the same time before, where that is known.";
  setText(document.getElementById("compared"), `${against} Counts by when it happened, rates of what was sent in the range.`);
  return answer;
}

setText(document.getElementById("origin"), location.origin);
let zone = asked("timezone");
const changed = () => {
  if (zone !== asked("timezone")) spark.reload();
  zone = asked("timezone");
  live.refresh();
};
pickers(changed);
const live = new Live([{ element: totals, load: loadTotals }, series({}, changed), campaigns(changed)]);
