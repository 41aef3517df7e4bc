// All runs, newest first, as they are now.

import { ask, mayWrite, once, repeat } from "./api.js";
import { STATES } from "./constants.js";
import { el } from "./dom.js";
import { runRow } from "./runrow.js";

const COLUMNS = ["State", "Network", "Progress", "Best accuracy", "Speed", "Time", "Started", "Actions"];
const ACTIVE_PAUSE = 1000, IDLE_PAUSE = 4000; // milliseconds

export async function showRuns(main, signal) {
  const filter = el("select", { id: "state" }, el("option", { value: "" }, "All states"),
    STATES.map((state) => el("option", {}, state)));
  const body = el("tbody");
  const empty = el("p", { hidden: true }, "There is no such run. ", el("a", { href: "#/train" }, "Train a network"));
  const newer = el("button", { onclick: () => turn(() => cursors.pop()) }, "Newer");
  const older = el("button", { onclick: () => turn(() => cursors.push(next)) }, "Older");
  const rows = new Map(); // by run id
  let cursors = []; // of the pages that lead to this one
  let next = null;
  let asked = 0;

  main.append(
    el("div", { class: "row spread" }, el("h1", {}, "Runs"),
      el("div", { class: "row" },
        el("label", { for: "state", class: "hint" }, "Show"), filter,
        el("a", { href: "#/train", class: "button primary" }, "Train a network"))),
    el("div", { class: "card" },
      el("table", { class: "runs" },
        el("thead", {}, el("tr", {}, COLUMNS.map((name) => el("th", { scope: "col" }, name)))), body),
      empty),
    el("div", { class: "row" }, newer, older));
  filter.addEventListener("change", () => turn(() => (cursors = [])));
  const write = await mayWrite();

  // At once; what fails now is asked for again soon, and said then.
  function turn(change) {
    change();
    look().catch(() => {});
  }

  async function look() {
    const number = ++asked;
    const query = new URLSearchParams({ limit: 20 });
    if (filter.value) query.set("state", filter.value);
    if (cursors.length) query.set("cursor", cursors.at(-1));
    const page = await ask(`runs?${query}`, { signal });
    // Names that came in one by one would move what is about to be clicked.
    await Promise.allSettled(page.items.map((run) => once(`models/${run.model_id}`)));
    if (number !== asked) return ACTIVE_PAUSE; // another page has been turned to meanwhile
    next = page.next_cursor;
    show(page.items);
    return page.items.some((run) => run.finished_at === null) ? ACTIVE_PAUSE : IDLE_PAUSE;
  }

  // Rows that stay are changed in place, so that the focus stays where it is.
  function show(items) {
    const wanted = items.map((run) => {
      if (!rows.has(run.run_id)) rows.set(run.run_id, runRow(run, write, look));
      rows.get(run.run_id).update(run);
      return rows.get(run.run_id).element;
    });
    if (wanted.length !== body.children.length || wanted.some((row, i) => row !== body.children[i])) {
      body.replaceChildren(...wanted);
    }
    empty.hidden = items.length > 0;
    newer.disabled = !cursors.length;
    older.disabled = !next;
  }

  await repeat(look, signal);
}
