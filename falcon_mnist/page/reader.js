// One network that reads what is drawn: its choice among the trained ones, its answer, and ten bars.

import { ask } from "./api.js";
import { CLASSES } from "./constants.js";
import { el } from "./dom.js";
import { percent } from "./names.js";

// `networks` are [{param_id, name}]; `remove` is called when the reader is not wanted any more (null: it stays).
export function reader(networks, chosen, remove) {
  const choice = el("select", { "aria-label": "Network" },
    networks.map(({ param_id, name }) => el("option", { value: param_id, selected: param_id === chosen }, name)));
  const verdict = el("p", { class: "verdict", "aria-live": "polite" });
  const bars = Array.from({ length: CLASSES }, (_, digit) => bar(digit));
  const doubts = el("ul", { class: "doubts" });
  const element = el("article", { class: "card reader", "aria-label": "What a network reads" },
    el("div", { class: "row" }, choice,
      remove && el("button", { class: "quiet", "aria-label": "Remove this network", onclick: remove }, "×")),
    verdict,
    doubts,
    el("ol", { class: "bars" }, bars.map(({ row }) => row)));
  let pixels = null;
  let asking = false;
  let stale = false;

  function show(answer) {
    const probabilities = answer?.outputs.probabilities[0];
    const best = probabilities ? probabilities.indexOf(Math.max(...probabilities)) : -1;
    bars.forEach((each, digit) => each.set(probabilities?.[digit], digit === best));
    verdict.replaceChildren(...(probabilities
      ? [el("strong", {}, `${best}`), ` ${percent(probabilities[best])} sure`]
      : [el("span", { class: "hint" }, "Draw a digit")]));
    doubts.replaceChildren(...(answer?.warnings ?? []).map(({ detail }) => el("li", {}, detail)));
  }

  // One request at a time: what is drawn meanwhile is asked for afterwards, and only as it is then.
  async function read(drawn) {
    pixels = drawn;
    stale = true;
    if (asking) return;
    asking = true;
    try {
      while (stale) {
        stale = false;
        show(pixels && await answerOf(choice.value, pixels));
      }
    } catch (error) {
      verdict.replaceChildren(el("span", { class: "fault" }, error.message));
    } finally {
      asking = false;
    }
  }

  choice.addEventListener("change", () => read(pixels));
  show(null);
  return { element, read };
}

function answerOf(paramId, pixels) {
  const path = `infer?param_id=${encodeURIComponent(paramId)}&dtype=uint8&return=probabilities`;
  return ask(path, { method: "POST", body: pixels, type: "application/octet-stream" });
}

function bar(digit) {
  const fill = el("span", { class: "fill" });
  const share = el("span", { class: "share" });
  const row = el("li", {}, el("b", {}, `${digit}`), el("span", { class: "bar" }, fill), share);
  const set = (value, best) => {
    fill.style.width = `${(value ?? 0) * 100}%`;
    share.textContent = value == null ? "" : percent(value);
    row.classList.toggle("best", best);
  };
  return { row, set };
}
