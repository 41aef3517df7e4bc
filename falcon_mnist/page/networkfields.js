// The fields of a network: widths of its hidden layers and what stands between them.

import { CLASSES, PIXELS } from "./constants.js";
import { el } from "./dom.js";
import { network } from "./names.js";

const ACTIVATIONS = ["relu", "sigmoid", "tanh"];

export function networkFields() {
  const widths = el("input", {
    id: "widths", value: "128", autocomplete: "off", "aria-describedby": "widths-help widths-fault",
  });
  const activation = el("select", { id: "activation" }, ACTIVATIONS.map((each) => el("option", {}, each)));
  const fault = el("p", { id: "widths-fault", class: "fault" });
  const fixed = el("p", { class: "hint", hidden: true });
  const simple = el("div", { class: "fields" },
    el("div", { class: "field" },
      el("label", { for: "widths" }, "Hidden layers"), widths,
      el("span", { id: "widths-help", class: "hint" }, "widths, by commas; empty for none"), fault),
    el("div", { class: "field" }, el("label", { for: "activation" }, "Activation"), activation));
  let given = null; // an architecture that the two fields cannot say

  return {
    element: el("div", {}, simple, fixed),
    value: () => given ?? architectureOf(widths.value, activation.value),
    set(architecture) {
      const said = simply(architecture);
      given = said ? null : architecture;
      simple.hidden = !said;
      fixed.hidden = Boolean(said);
      if (said) [widths.value, activation.value] = [said.widths.join(", "), said.activation];
      else fixed.textContent = `Network: ${network(architecture)}, layer by layer as in that run.`;
    },
    complain(text) {
      fault.textContent = text;
      text ? widths.setAttribute("aria-invalid", "true") : widths.removeAttribute("aria-invalid");
    },
    focus: () => widths.focus(),
  };
}

// What is no number is sent as it stands, for the server to say so.
function architectureOf(text, activation) {
  const layers = [];
  let before = PIXELS;
  for (const part of text.split(",").map((each) => each.trim()).filter(Boolean)) {
    const width = Number.isNaN(Number(part)) ? part : Number(part);
    layers.push({ type: "linear", in: before, out: width }, { type: activation });
    before = width;
  }
  return { input_size: PIXELS, layers: [...layers, { type: "linear", in: before, out: CLASSES }] };
}

// The widths and activation of an architecture that alternates linear layers and one activation; else null.
function simply({ layers }) {
  const kinds = new Set(layers.filter((_, i) => i % 2).map((layer) => layer.type));
  const alternates = layers.length % 2 && layers.every((layer, i) => (layer.type === "linear") === (i % 2 === 0));
  const [activation = "relu"] = kinds;
  if (!alternates || kinds.size > 1 || !ACTIVATIONS.includes(activation)) return null;
  const widths = layers.filter((layer) => layer.type === "linear").slice(0, -1).map((layer) => layer.out);
  return { widths, activation };
}
