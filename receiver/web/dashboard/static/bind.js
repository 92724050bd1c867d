// Puts answers into the page: every text as text, only where it has changed, so that nothing flickers or loses focus.

import * as format from "./format.js";
import { linkTo } from "./state.js";

const TEXT_MAX = 600;

const at = (object, path) => path.split(".").reduce((value, name) => value?.[name], object) ?? null;

// The text node stays the same one: what a reader has selected around it stays selected.
export function setText(element, text) {
  if (element.textContent === text) return;
  if (element.childNodes.length === 1 && element.firstChild.nodeType === Node.TEXT_NODE) element.firstChild.nodeValue = text;
  else element.textContent = text;
}

function setAttribute(element, name, value) {
  if (value === null || value === undefined) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

const shown = {
  count: (element, value) => figure(element, value, format.count),
  share: (element, value) => figure(element, value, format.share),
  change: (element, value) => {
    figure(element, value, format.change);
    setAttribute(element, "data-direction", value ? (value > 0 ? "up" : "down") : null);
  },
  points: (element, value) => {
    figure(element, value, format.point);
    setAttribute(element, "data-direction", value ? (value > 0 ? "up" : "down") : null);
  },
  rate: (element, rate) => {
    const { of } = element.dataset;
    figure(element, rate?.value ?? null, of ? (value) => format.shareOf(value, of) : format.share);
    const parts = [rate?.numerator, rate?.denominator];
    setAttribute(element, "title", parts.includes(null) || parts.includes(undefined) ? null : parts.map(format.count).join(" of "));
  },
  time: (element, value) => {
    setText(element, format.time(value));
    setAttribute(element, "datetime", value);
  },
  bucket: (element, { time, interval }) => {
    setText(element, format.bucket(time, interval));
    setAttribute(element, "datetime", time);
  },
  countdown: (element, { deadline, code }) => {
    setAttribute(element, "data-deadline", deadline ?? "");
    setAttribute(element, "data-code", code);
    setText(element, format.countdown(deadline, code));
  },
  badge: (element, value) => {
    setText(element, format.words(value));
    setAttribute(element, "data-kind", value ?? "unknown");
  },
  words: (element, value) => setText(element, format.words(value)),
  name: (element, value) => shown.text(element, value ?? format.DASH),
  text: (element, value) => {
    const text = String(value ?? "");
    setText(element, text.length > TEXT_MAX ? `${text.slice(0, TEXT_MAX)}…` : text);
  },
};

function figure(element, value, format_) {
  setText(element, format_(value));
  setAttribute(element, "value", value ?? "");
}

// Fills every `data-f` in an element from an object.
export function fill(element, object) {
  for (const place of element.querySelectorAll("[data-f]")) {
    shown[place.dataset.as](place, at(object, place.dataset.f));
  }
  for (const link of element.querySelectorAll("a[data-link]")) {
    const id = object[link.dataset.link];
    if (id) setAttribute(link, "href", linkTo({ view: "campaign", campaign_id: id }));
    else link.removeAttribute("href");
  }
}

// One child per object, known again by its key: rows keep their place in the page, and with it focus and selection.
export function fillRows(list, objects, keyOf, dress = () => {}) {
  const template = document.getElementById(list.dataset.template);
  const before = new Map([...list.children].map((row) => [row.dataset.key, row]));
  const putBack = held(list);
  const seen = new Set();
  const kept = new Set();
  let place = list.firstElementChild;
  for (const object of objects) {
    let key = String(keyOf(object));
    while (seen.has(key)) key += " again";
    seen.add(key);
    const row = before.get(key) ?? template.content.firstElementChild.cloneNode(true);
    kept.add(row);
    row.dataset.key = key;
    if (row === place) place = place.nextElementSibling;
    else move(list, row, place);
    fill(row, object);
    dress(row, object);
  }
  for (const row of [...list.children]) if (!kept.has(row)) row.remove();
  putBack();
  const none = list.closest("section")?.querySelector(".none");
  if (none && list.closest(".scroll, ul")) none.hidden = objects.length > 0;
  const frame = list.closest(".scroll");
  if (frame && none) frame.hidden = !objects.length;
}

// What a reader has focused and selected in a list whose rows are about to move; the answer puts both back.
function held(list) {
  const focused = list.contains(document.activeElement) ? document.activeElement : null;
  const selection = getSelection();
  const { anchorNode, anchorOffset, focusNode, focusOffset } = selection;
  const selected = !selection.isCollapsed && (list.contains(anchorNode) || list.contains(focusNode));
  const within = (node, offset) => [node, Math.min(offset, node.length ?? node.childNodes.length)];
  return () => {
    if (focused?.isConnected && document.activeElement !== focused) focused.focus({ preventScroll: true });
    if (!selected || !anchorNode.isConnected || !focusNode.isConnected) return;
    if (selection.anchorNode === anchorNode && selection.focusNode === focusNode) return;
    selection.setBaseAndExtent(...within(anchorNode, anchorOffset), ...within(focusNode, focusOffset));
  };
}

// Without leaving the page on the way, where a browser can: a row that leaves it loses its focus for a moment.
function move(list, row, place) {
  if (row.isConnected && list.moveBefore) list.moveBefore(row, place);
  else list.insertBefore(row, place);
}

// The length of a bar beside a figure.
export function meter(row, value, most) {
  row.querySelector(".meter i").style.width = `${most > 0 ? Math.max(0, (100 * value) / most) : 0}%`;
}
