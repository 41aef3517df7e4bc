// Asks for the token, once for each tab.

import { el } from "./dom.js";
import { keepToken } from "./session.js";

export function askForToken(main, done, complaint = "") {
  const input = el("input", {
    id: "token", type: "password", autocomplete: "current-password", required: true, spellcheck: "false",
    "aria-describedby": "token-help token-complaint",
  });
  const enter = (event) => {
    event.preventDefault();
    keepToken(input.value.trim());
    done();
  };
  main.replaceChildren(
    el("form", { class: "card login", onsubmit: enter },
      el("h1", {}, "Who is there?"),
      el("label", { for: "token" }, "Token"),
      input,
      el("p", { id: "token-complaint", role: "alert", class: "fault" }, complaint),
      el("p", { id: "token-help", class: "hint" },
        "The server prints a link with it when it starts on a terminal, or says which file it is in. ",
        "This tab keeps it until it is closed."),
      el("button", { class: "primary" }, "Enter")));
  input.focus();
}
