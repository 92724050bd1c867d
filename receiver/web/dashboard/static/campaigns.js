// The table of campaigns: sorted, filtered, as long as the reader asks.

import { address, get } from "./api.js";
import { fillRows, setText } from "./bind.js";
import * as format from "./format.js";
import * as spark from "./spark.js";
import { asked, change } from "./state.js";

const PAGE = 100;
const MOST = 2000;
const PAUSE_MS = 250;

const section = document.getElementById("campaigns");
const body = document.querySelector("#campaign-rows tbody");
const more = document.getElementById("more");
const fresh = document.getElementById("fresh");
const FILTERS = ["q", "status", "activity"];

let limit = PAGE;

function query() {
  const filters = Object.fromEntries(FILTERS.map((name) => [name, asked(name)]));
  return { sort: asked("sort"), order: asked("order"), ...filters };
}

async function load(isLast) {
  const answer = await get("v1/campaigns", { ...query(), limit });
  if (!isLast()) return answer;
  const rows = answer.data.map((row) => ({ ...row, title: row.name ?? row.campaign_id, subtitle: row.name === null ? "" : row.campaign_id }));
  fillRows(body, rows, (row) => row.campaign_id, dress);
  spark.refresh();
  const filtered = FILTERS.some(asked);
  fresh.hidden = rows.length > 0 || filtered;
  section.hidden = !rows.length && !filtered;
  for (const other of ["totals", "series"]) document.getElementById(other).hidden = section.hidden;
  more.hidden = answer.next_cursor === null || limit >= MOST;
  setText(document.getElementById("shown"), rows.length ? `${format.count(rows.length)} shown${answer.next_cursor ? ", there are more" : ", that is all"}` : "");
  return answer;
}

function dress(row) {
  const cell = row.querySelector(".spark");
  if (!cell.dataset.watched) {
    cell.dataset.watched = "yes";
    spark.watch(cell);
  }
}

export function campaigns(changed) {
  const again = () => {
    showOrder();
    changed();
  };
  for (const button of section.querySelectorAll("[data-sort]")) button.addEventListener("click", () => sortBy(button.dataset.sort, again));
  const filters = document.getElementById("filters");
  let typing;
  const read = () => {
    change(Object.fromEntries(FILTERS.map((name) => [name, document.getElementById(name).value.trim()])));
    limit = PAGE;
    again();
  };
  filters.addEventListener("submit", (event) => {
    event.preventDefault();
    read();
  });
  filters.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(read, PAUSE_MS);
  });
  document.getElementById("unfilter").addEventListener("click", () => {
    filters.querySelector("#q").value = filters.querySelector("#status").value = filters.querySelector("#activity").value = "";
    read();
    filters.querySelector("#q").focus();
  });
  more.addEventListener("click", () => {
    limit = Math.min(MOST, limit + PAGE);
    changed();
  });
  for (const row of body.children) dress(row);
  showOrder();
  return { element: section, load };
}

function sortBy(name, again) {
  const turned = asked("sort") === name && asked("order") === "desc" ? "asc" : "desc";
  change({ sort: name, order: turned });
  again();
}

function showOrder() {
  for (const button of section.querySelectorAll("[data-sort]")) {
    const heading = button.closest("th");
    if (button.dataset.sort === asked("sort")) heading.setAttribute("aria-sort", asked("order") === "desc" ? "descending" : "ascending");
    else heading.removeAttribute("aria-sort");
  }
  document.getElementById("csv").href = address("v1/campaigns", { ...query(), format: "csv" });
}
