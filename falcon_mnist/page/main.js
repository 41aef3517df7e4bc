// The frame of the page: who is in, and which view the fragment of the address names.

import { RETRY_PAUSE, Unreachable, onUnauthorized, reachable } from "./api.js";
import { el } from "./dom.js";
import { askForToken } from "./login.js";
import { forgetToken, hasToken, takeTokenFromLink } from "./session.js";
import { showDraw } from "./draw.js";
import { showRun } from "./run.js";
import { showRuns } from "./runs.js";
import { showStatus } from "./status.js";
import { showTrain } from "./train.js";

// Fragment to view: a view fills `main` and stops what it does when `signal` aborts.
const VIEWS = [
  [/^#\/(?:draw\/(\w+))?$/, showDraw],
  [/^#\/runs$/, showRuns],
  [/^#\/runs\/([\w,]+)$/, showRun],
  [/^#\/status$/, showStatus],
  [/^#\/train(?:\/(recipe|like)\/([\w-]+))?$/, showTrain],
];

const main = document.querySelector("#main");
const leave = document.querySelector("#leave");
let left = new AbortController();

function route() {
  takeTokenFromLink();
  left.abort();
  left = new AbortController();
  main.replaceChildren();
  leave.hidden = !hasToken();
  if (!hasToken()) {
    askForToken(main, route);
    return;
  }
  const fragment = location.hash || "#/";
  markCurrent(fragment);
  const [pattern, view] = VIEWS.find(([pattern]) => pattern.test(fragment)) ?? VIEWS[0];
  run(view, left.signal, (pattern.exec(fragment) ?? []).slice(1));
}

// A view that cannot begin says why; where the server did not answer, it starts again.
async function run(view, signal, parameters) {
  try {
    await view(main, signal, ...parameters);
  } catch (error) {
    if (error instanceof Unreachable) setTimeout(() => signal.aborted || route(), RETRY_PAUSE);
    else if (!signal.aborted) main.append(el("p", { class: "card fault", role: "alert" }, error.message));
  }
}

function markCurrent(fragment) {
  for (const link of document.querySelectorAll("nav a")) {
    const href = link.getAttribute("href");
    const current = href === "#/" ? !/^#.(runs|train|status)/.test(fragment) : fragment.startsWith(href);
    current ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current");
  }
}

onUnauthorized(() => {
  forgetToken();
  left.abort();
  main.replaceChildren();
  leave.hidden = true;
  askForToken(main, route, "The server does not know this token.");
});
reachable((reached) => {
  document.querySelector("#offline").hidden = reached;
});
leave.addEventListener("click", () => {
  forgetToken();
  location.reload(); // and so forget what was shown with it
});
addEventListener("hashchange", route);
route();
