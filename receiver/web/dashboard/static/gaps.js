// The table of gaps, as the campaign's page and the trust page show it.

import { fillRows } from "./bind.js";

export function showGaps(section, gaps) {
  fillRows(section.querySelector("#gaps tbody"), gaps, (gap) => [gap.campaign_id, gap.figure, gap.from, gap.to, gap.cause].join(" "));
}
