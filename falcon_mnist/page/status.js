// How the service is doing.

import { ask, once, repeat } from "./api.js";
import { el } from "./dom.js";
import { number } from "./names.js";

const PAUSE = 2000; // milliseconds

export async function showStatus(main, signal) {
  const { version } = await once("version");
  const figures = el("dl", { class: "figures" });
  main.append(el("h1", {}, "Service"), el("section", { class: "card", "aria-label": "How it is doing" }, figures),
    el("p", { class: "hint" }, "Requests are those of the last minute in the process that answers."));
  await repeat(async () => {
    const now = await ask("status", { signal });
    figures.replaceChildren(...rows(now, version).map(([name, value]) =>
      el("div", {}, el("dt", {}, name), el("dd", {}, value))));
    return PAUSE;
  }, signal);
}

const milliseconds = (value) => (value === null ? "–" : `${number(value)} ms`);

const rows = (now, version) => [
  ["Version", version],
  ["Instruction set", now.isa],
  ["Data set", now.dataset?.name ?? "none yet"],
  ["Workers", `${Math.min(now.runs.running, now.workers)} of ${now.workers} at work`],
  ["Queue", `${now.runs.queued} runs`],
  ["Succeeded", `${now.runs.succeeded}`],
  ["Failed", `${now.runs.failed}`],
  ["Cancelled", `${now.runs.cancelled}`],
  ["Requests a second", number(now.requests_per_second)],
  ["Half of them within", milliseconds(now.p50_ms)],
  ["95 of 100 within", milliseconds(now.p95_ms)],
  ["This token may", now.token === "write" ? "read and write" : "read"],
];
