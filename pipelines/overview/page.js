"use strict";
// Looks again every few seconds and puts what is new in place of what was shown; the page is whole without it.
const every = 1000 * document.body.dataset.refresh, late = 1000 * document.body.dataset.late;
let seen = Date.now();

function kept(main) {
  return { open: new Set([...main.querySelectorAll("details[open]")].map((each) => each.id)), focus: document.activeElement?.id };
}

function put(fresh) {
  const main = document.querySelector("main"), was = kept(main);
  const known = new Set([...main.querySelectorAll("details")].map((each) => each.id));
  for (const each of fresh.querySelectorAll("details")) {
    if (known.has(each.id)) each.open = was.open.has(each.id);
  }
  main.replaceWith(fresh);
  if (was.focus) document.getElementById(was.focus)?.focus({ preventScroll: true });
}

async function look() {
  try {
    const answer = await fetch(location.pathname, { cache: "no-store", signal: AbortSignal.timeout(every) });
    if (!answer.ok) throw new Error(answer.status);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html"), fresh = page.querySelector("main");
    const said = document.getElementById("said"), now = page.getElementById("said").textContent;
    put(document.adoptNode(fresh));
    document.title = page.title;
    if (said.textContent !== now) said.textContent = now; // read aloud only when a verdict changes
    seen = Date.now();
  } catch { /* the next look may succeed; how old the page is shows below */ }
}

function age() {
  const old = Date.now() - seen;
  document.body.classList.toggle("gone", old > late);
  document.getElementById("age").textContent = Math.round(old / 1000);
}

setInterval(() => { if (!document.hidden) look(); }, every);
setInterval(age, 1000);
document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
