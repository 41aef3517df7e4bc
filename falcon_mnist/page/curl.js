// The same run as commands for a shell.

import { address } from "./api.js";
import { el } from "./dom.js";

export function curlFor(run, model) {
  const body = JSON.stringify({ architecture: model.architecture, hyperparams: run.hyperparams });
  const start = run.start_from ? ` \\\n  -d '${JSON.stringify({ start_from: run.start_from })}'` : "";
  const header = `-H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json'`;
  const text = [
    "TOKEN=…",
    `MODEL=$(curl -s ${address("models")} ${header} \\\n  -d '${body}' | jq -r .model_id)`,
    `curl -s -X POST ${address("models")}/$MODEL/train ${header}${start}`,
  ].join("\n");
  const copy = el("button", { onclick: () => navigator.clipboard.writeText(text).then(() => (copy.textContent = "Copied")) },
    "Copy");
  return el("details", { class: "card" }, el("summary", {}, "The same with curl"),
    el("pre", { tabindex: "0" }, text), navigator.clipboard && copy);
}
