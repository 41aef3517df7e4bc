// The OpenAPI document for people: fetched with the token, and shown by Swagger UI.

import { Unreachable, RETRY_PAUSE, ask, onUnauthorized } from "./api.js";
import { el } from "./dom.js";
import { askForToken } from "./login.js";
import { forgetToken, hasToken, takeTokenFromLink, token } from "./session.js";

const main = document.querySelector("#main");

async function start() {
  takeTokenFromLink();
  if (!hasToken()) {
    askForToken(main, start);
    return;
  }
  try {
    show(await ask("openapi.json"));
  } catch (error) {
    if (error.status === 401) return; // the token is asked for again
    main.replaceChildren(el("p", { class: "card fault", role: "alert" }, error.message));
    if (error instanceof Unreachable) setTimeout(start, RETRY_PAUSE);
  }
}

// The viewer has a style of its own, and asks this server alone, also behind a prefix that a proxy strips. Operations
// inherit nothing from their path or the document ("normalized"): the viewer need not copy all of it to look for that.
function show(description) {
  document.querySelector("#own-style").remove();
  document.documentElement.classList.toggle("dark-mode", matchMedia("(prefers-color-scheme: dark)").matches);
  main.replaceChildren();
  const here = new URL(".", document.baseURI).href.replace(/\/$/, "");
  const viewer = window.SwaggerUIBundle({
    spec: { ...description, servers: [{ url: here }], $$normalized: true },
    domNode: main,
    validatorUrl: null,
    docExpansion: "list",
    defaultModelsExpandDepth: 0,
    onComplete: () => viewer.preauthorizeApiKey("bearer", token()),
  });
}

onUnauthorized(() => {
  forgetToken();
  askForToken(main, start, "The server does not know this token.");
});
addEventListener("hashchange", () => location.reload()); // a link with a token that this tab was given
start();
