// Asks the receiver's API. What has not changed since is not sent again: entity tags, kept here.

import { heard } from "./clock.js";

const HELD_MAX = 200;
const TIMEOUT_MS = 15000;
const held = new Map();
const asking = new Map();
let round = new AbortController();

export const root = document.body.dataset.root;

// The receiver answered, but not with figures.
export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

// The receiver did not answer.
export class Unreachable extends Error {}

export function address(path, query = {}) {
  const pairs = Object.entries(query).flatMap(([name, value]) => [value].flat().map((one) => [name, one]));
  const text = new URLSearchParams(pairs.filter(([, value]) => value !== null && value !== undefined && value !== ""));
  return `${root}/${path}${text.size ? `?${text}` : ""}`;
}

// What a reader has turned away from is not waited for: it would keep the browser from asking for what he looks at now.
export function newRound() {
  round.abort();
  round = new AbortController();
  asking.clear();
}

// Whoever asks the same meanwhile gets the same answer. A `signal` of null outlasts the round.
export function get(path, query, signal = round.signal) {
  const url = address(path, query);
  if (asking.has(url)) return asking.get(url);
  const answer = answered(url, signal).finally(() => asking.get(url) === answer && asking.delete(url));
  asking.set(url, answer);
  return answer;
}

async function answered(url, signal) {
  const before = held.get(url);
  const response = await ask(url, signal, { headers: before ? { "If-None-Match": before.etag } : {} });
  const stamps = { as_of: response.headers.get("receiver-as-of"), settled_until: response.headers.get("receiver-settled-until") };
  heard(stamps.as_of);
  if (response.status === 304) return { ...before.answer, ...stamps };
  const answer = await understood(response);
  const etag = response.headers.get("etag");
  held.delete(url);
  if (etag) held.set(url, { etag, answer });
  if (held.size > HELD_MAX) held.delete(held.keys().next().value);
  return answer;
}

export async function post(path, body) {
  const headers = { "Content-Type": "application/json" };
  return understood(await ask(address(path), null, { method: "POST", headers, body: JSON.stringify(body) }));
}

async function ask(url, until, given) {
  const late = AbortSignal.timeout(TIMEOUT_MS);
  const signal = until && AbortSignal.any ? AbortSignal.any([late, until]) : late;
  try {
    return await fetch(url, { cache: "no-store", signal, ...given });
  } catch (error) {
    throw new Unreachable("The receiver does not answer.", { cause: error });
  }
}

async function understood(response) {
  let answer;
  try {
    answer = await response.json();
  } catch (error) {
    throw new Unreachable("The receiver's answer broke off.", { cause: error });
  }
  if (response.ok) return answer;
  // What stands before the receiver answers for it when it is gone.
  if (response.status >= 500) throw new Unreachable(answer.detail ?? "The receiver cannot answer now.");
  throw new Refused(response.status, answer.detail ?? `The receiver answered ${response.status}.`);
}
