// Hyperparameters of one run, or what differs between several.

import { el } from "./dom.js";
import { network } from "./names.js";
import { bestOf, timeOf } from "./runrow.js";

// Nested members by the way to them: {"optimizer.lr": 0.1, …}
function flat(value, way = "") {
  if (value === null || typeof value !== "object") return { [way]: value };
  return Object.assign({}, ...Object.entries(value).map(([name, member]) => flat(member, way ? `${way}.${name}` : name)));
}

// `runs` are [{run, model, name, className}].
export function comparison(runs) {
  if (runs.length > 1) return differences(runs);
  return el("section", { class: "card" }, el("h2", {}, "Hyperparameters"),
    el("dl", { class: "figures small" }, Object.entries(factsOf(runs[0])).map(([name, value]) =>
      el("div", {}, el("dt", {}, name), el("dd", {}, `${value ?? "–"}`)))));
}

function factsOf({ run, model }) {
  const types = new Set(model.architecture.layers.map((layer) => layer.type).filter((type) => type !== "linear"));
  return {
    network: network(model.architecture),
    activations: [...types].join(", ") || "none",
    ...flat(run.hyperparams),
    start_from: run.start_from,
    "data set": run.dataset?.name,
  };
}

function differences(runs) {
  const columns = runs.map((each) => ({
    state: each.run.state, "best accuracy": bestOf(each.run), time: timeOf(each.run), ...factsOf(each),
  }));
  const names = [...new Set(columns.flatMap(Object.keys))];
  const rows = names.filter((name) => new Set(columns.map((each) => `${each[name]}`)).size > 1);
  return el("section", { class: "card" }, el("h2", {}, "What differs"),
    el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "What differs" },
      el("table", { class: "facts" },
        el("thead", {}, el("tr", {}, el("td"),
          runs.map(({ name, className }) => el("th", { scope: "col", class: className }, name)))),
        el("tbody", {}, rows.map((name) => el("tr", {}, el("th", { scope: "row" }, name),
          columns.map((each) => el("td", {}, `${each[name] ?? "–"}`))))))));
}
