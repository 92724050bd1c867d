// Asks again every few seconds, and says how old the figures are when nobody answers.

import { Refused, Unreachable, address, newRound } from "./api.js";
import { setText } from "./bind.js";
import { now } from "./clock.js";
import * as format from "./format.js";
import { keepInLinks } from "./state.js";

const EVERY_MS = 5000;

const state = document.getElementById("live-state");
const pause = document.getElementById("pause");
const stale = document.getElementById("stale");
const words = document.getElementById("stale-words");
const again = document.getElementById("sign-in-again");

// `parts` are the sections of a page: an element, and what loads and shows it.
export class Live {
  constructor(parts) {
    this.parts = parts;
    this.paused = false;
    this.round = 0;
    this.answered = document.body.dataset.asOf;
    pause.addEventListener("click", () => this.toggle());
    document.addEventListener("visibilitychange", () => this.wake());
    setInterval(() => this.tick(), 1000);
    keepInLinks();
    this.refresh();
  }

  toggle() {
    this.paused = !this.paused;
    clearTimeout(this.timer);
    pause.setAttribute("aria-pressed", String(this.paused));
    setText(pause, this.paused ? "Resume" : "Pause");
    if (this.paused) this.show("paused", "Paused");
    else this.refresh();
  }

  wake() {
    if (!document.hidden && !this.paused) this.refresh();
  }

  // All at once; what is asked meanwhile by somebody who changed the view replaces this round.
  async refresh() {
    clearTimeout(this.timer);
    const round = ++this.round;
    newRound();
    const isLast = () => round === this.round;
    const results = await Promise.allSettled(this.parts.map((part) => part.load(isLast)));
    if (!isLast()) return;
    const failures = results.map((result) => (result.status === "rejected" ? result.reason : null));
    const gone = failures.every((failure) => failure instanceof Unreachable);
    const signedOut = failures.some((failure) => failure?.status === 401);
    failures.forEach((failure, at) => this.mark(this.parts[at].element, failure, gone || signedOut));
    this.judge({ failures, gone, signedOut, results });
    if (!this.paused) this.timer = setTimeout(() => (document.hidden ? null : this.refresh()), EVERY_MS);
  }

  // A part that failed alone says so itself; what failed with all others is said once, above them.
  mark(element, cause, isTold) {
    const line = element.querySelector(".failed");
    const failure = isTold ? null : cause;
    if (!cause) element.removeAttribute("data-waiting");
    if (failure && !(failure instanceof Refused || failure instanceof Unreachable)) console.error(failure);
    element.toggleAttribute("data-stale", Boolean(failure));
    line.hidden = !failure;
    const older = element.hasAttribute("data-waiting") ? "" : " What stands here is older than the rest.";
    setText(line, failure ? `${failure.message}${older}` : "");
  }

  judge({ failures, gone, signedOut, results }) {
    stale.hidden = !signedOut && !gone;
    document.body.toggleAttribute("data-stale", gone || signedOut);
    again.hidden = !signedOut;
    if (signedOut) {
      setText(words, "Your session has ended; the figures below are the last ones that came.");
      again.href = address("sign-in", { page: location.search.slice(1) });
      return this.show("stale", "Signed out");
    }
    if (gone) {
      setText(words, `The receiver does not answer. These figures are as of ${format.time(this.answered)}, ${format.span(now() - new Date(this.answered))} old; they go on by themselves when it does.`);
      return this.show("stale", "Stale");
    }
    for (const result of results) if (result.value?.as_of >= this.answered) this.stamp(result.value);
    if (this.paused) return this.show("paused", "Paused");
    return failures.some(Boolean) ? this.show("stale", "Partly stale") : this.show("live", "Live");
  }

  stamp(answer) {
    this.answered = answer.as_of;
    for (const [id, value] of [["as-of", answer.as_of], ["settled-until", answer.settled_until]]) {
      const element = document.getElementById(id);
      element.dateTime = value;
      setText(element, format.time(value));
    }
  }

  show(kind, word) {
    state.dataset.kind = kind;
    setText(state, word);
    document.body.dataset.ready = kind;
  }

  tick() {
    for (const element of document.querySelectorAll("[data-deadline]")) setText(element, format.countdown(element.dataset.deadline, element.dataset.code));
  }
}
