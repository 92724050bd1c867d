// The table of gaps, as the campaign's page and the trust page show it.

import { fillRows, setText } from "./bind.js";
import * as format from "./format.js";

const SHOWN_MAX = 200;

// `named` gives rows their title, where there is a column for it.
export async function showGaps(section, gaps, named = (rows) => rows) {
  const note = section.querySelector(".gap-note");
  note.hidden = gaps.length <= SHOWN_MAX;
  setText(note, `${format.count(SHOWN_MAX)} of ${format.count(gaps.length)} gaps are shown, open ones first.`);
  const rows = await named(gaps.slice(0, SHOWN_MAX));
  fillRows(section.querySelector("#gaps tbody"), rows, (gap) => [gap.campaign_id, gap.figure, gap.from, gap.to, gap.cause].join(" "));
}
