// What is kept and not counted; whoever has an admin's key can have it read again.

import { get, post } from "./api.js";
import { fillRows, setText } from "./bind.js";
import * as format from "./format.js";

const section = document.getElementById("quarantine");
const note = section.querySelector(".more-note");
const said = document.getElementById("retried");

async function retry(body, button, changed) {
  button.disabled = true;
  try {
    const { retried, stored, duplicate, still_quarantined: still } = await post("v1/quarantine/retry", body);
    setText(said, `Read again: ${format.count(retried)}. Counted now: ${format.count(stored)}; known already: ${format.count(duplicate)}; still not understood: ${format.count(still)}.`);
  } catch (error) {
    setText(said, error.message);
  }
  button.disabled = false;
  changed();
}

export function quarantine(changed) {
  const all = document.getElementById("retry-all");
  all?.addEventListener("click", () => retry({}, all, changed));
  section.addEventListener("click", (event) => {
    const button = event.target.closest("[data-retry]");
    if (button) retry({ ids: [Number(button.closest("tr").dataset.key)] }, button, changed);
  });
  const load = async (isLast) => {
    const answer = await get("v1/quarantine", { limit: 100 });
    if (!isLast()) return answer;
    fillRows(section.querySelector("tbody"), answer.data, (row) => row.id, (element, row) => {
      element.querySelector("[data-retry]")?.setAttribute("aria-label", `Retry quarantined delivery ${row.id}`);
    });
    if (all) all.hidden = !answer.data.length;
    note.hidden = answer.next_cursor === null;
    setText(note, "The newest 100 are shown; `leadterra-receiver quarantine list` has all.");
    return answer;
  };
  return { element: section, load };
}
