// The table of gaps, as the campaign's page and the trust page show it.

import { fillRows, setText } from "./bind.js";
import * as format from "./format.js";
import { titled } from "./names.js";

const SHOWN_MAX = 200;

export async function showGaps(section, gaps) {
  const note = section.querySelector(".gap-note");
  note.hidden = gaps.length <= SHOWN_MAX;
  setText(note, `${format.count(SHOWN_MAX)} of ${format.count(gaps.length)} gaps are shown, open ones first.`);
  const rows = await titled(gaps.slice(0, SHOWN_MAX));
  fillRows(section.querySelector("#gaps tbody"), rows, (gap) => [gap.campaign_id, gap.figure, gap.from, gap.to, gap.cause].join(" "));
}
