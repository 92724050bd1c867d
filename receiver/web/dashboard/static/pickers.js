// Range and zone: picked here, kept in the address.

import { setText } from "./bind.js";
import { knownZone } from "./format.js";
import { asked, change } from "./state.js";

export function pickers(changed) {
  const form = document.getElementById("pickers");
  const zone = document.getElementById("zone");
  const range = document.getElementById("range");
  const here = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const zones = new Set([asked("timezone"), "UTC", here, ...Intl.supportedValuesOf("timeZone")]);
  zone.replaceChildren(...[...zones].map((name) => new Option(name === here ? `${name} (here)` : name, name)));
  zone.value = asked("timezone");
  sayZone();
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", () => {
    // Without a value: the range of a link, which is none of those to pick.
    if (range?.value) range.querySelector("option[value='']")?.remove();
    change({ ...(range?.value ? { from: range.value, to: "now" } : {}), timezone: zone.value });
    sayZone();
    changed();
  });
}

function sayZone() {
  const name = asked("timezone");
  const text = knownZone() === name ? name : `${knownZone()}, for this browser does not know ${name}`;
  setText(document.getElementById("zone-name"), text);
}
