// A link from another site arrives without the strict cookie: asked again from here, whoever is signed in goes on.
const answer = await fetch(location.href, { redirect: "manual" });
if (answer.type === "opaqueredirect") {
  const page = new URLSearchParams(location.search).get("page");
  location.replace(new URL(page ? `./?${page}` : "./", location.href));
}
