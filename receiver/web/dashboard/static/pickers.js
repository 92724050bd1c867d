// Range and zone: picked here, kept in the address.

import { setText } from "./bind.js";
import { asked, change } from "./state.js";

export function pickers(changed) {
  const form = document.getElementById("pickers");
  const zone = document.getElementById("zone");
  const here = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const zones = new Set([asked("timezone"), "UTC", here, ...Intl.supportedValuesOf("timeZone")]);
  zone.replaceChildren(...[...zones].map((name) => new Option(name === here ? `${name} (here)` : name, name)));
  zone.value = asked("timezone");
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", () => {
    const range = document.getElementById("range");
    change({ ...(range && range.value !== asked("from") ? { from: range.value, to: "now" } : {}), timezone: zone.value });
    setText(document.getElementById("zone-name"), zone.value);
    changed();
  });
}
