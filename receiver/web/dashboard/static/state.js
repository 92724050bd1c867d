// The view as it stands in the address, so that a link shows others the same.

const DEFAULTS = { from: "-30d", to: "now", timezone: "UTC", interval: "day", sort: "last_event_at", order: "desc" };
const SHARED = ["from", "to", "timezone"];

const params = new URLSearchParams(location.search);

export function asked(name) {
  return params.get(name) || DEFAULTS[name] || null;
}

export function change(values) {
  for (const [name, value] of Object.entries(values)) {
    if (value && value !== DEFAULTS[name]) params.set(name, value);
    else params.delete(name);
  }
  history.replaceState(null, "", params.size ? `?${params}` : location.pathname);
  keepInLinks();
}

// A page of this dashboard in the same range and zone.
export function linkTo(values) {
  const link = new URLSearchParams(values);
  for (const name of SHARED) if (params.has(name)) link.set(name, params.get(name));
  return `${document.body.dataset.root}/${link.size ? `?${link}` : ""}`;
}

export function keepInLinks() {
  for (const link of document.querySelectorAll("a[data-keep]")) {
    const view = new URL(link.href).searchParams.get("view");
    link.href = linkTo(view ? { view } : {});
  }
}

// Half-open; a range of all time has no beginning.
export function range() {
  const whole = asked("from") === "all";
  return { from: whole ? null : asked("from"), to: asked("to"), whole };
}
