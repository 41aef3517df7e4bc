// What the first layer looks for: the weights of each of its units as a tile of 28 × 28.

import { ask, repeat } from "./api.js";
import { SIDE } from "./constants.js";
import { el } from "./dom.js";
import { tensorsIn } from "./safetensors.js";
import { active } from "./runrow.js";

const GAP = 2;
const FEW = 64;
const PAUSE = 3000; // milliseconds, while it trains

// `run()` is the run as it is known now.
export function showWeights(place, run, signal) {
  const canvas = el("canvas", { class: "tiles", role: "img" });
  const more = el("button", { hidden: true, onclick: () => { most = Infinity; paint(); } });
  const hint = el("p", { class: "hint" });
  let most = FEW;
  let weights = null;

  function paint() {
    const [inputs, units] = weights.shape;
    const count = Math.min(units, most);
    const columns = Math.min(count, matchMedia("(max-width: 40rem)").matches ? 8 : 16);
    const rows = Math.ceil(count / columns);
    canvas.width = columns * (SIDE + GAP) - GAP;
    canvas.height = rows * (SIDE + GAP) - GAP;
    const context = canvas.getContext("2d");
    for (let unit = 0; unit < count; unit++) {
      const into = Float32Array.from({ length: inputs }, (_, pixel) => weights.values[pixel * units + unit]);
      context.putImageData(tile(into), (unit % columns) * (SIDE + GAP), Math.floor(unit / columns) * (SIDE + GAP));
    }
    canvas.setAttribute("aria-label", `Weights of ${count} units of the first layer`);
    hint.textContent = `${count} of ${units} units: orange where ink speaks for the unit, blue where it speaks against.`;
    more.textContent = `All ${units}`;
    more.hidden = count === units;
  }

  const element = el("section", { class: "card", hidden: true },
    el("h2", {}, "What it learned"), canvas, hint, more);
  place.append(element);

  return repeat(async () => {
    const { state, param_id: paramId, run_id: runId } = run();
    const path = paramId ? `params/${paramId}` : `runs/${runId}/snapshot`;
    if (!paramId && !active({ state })) return null;
    const file = await ask(path, { signal, accept: "application/vnd.safetensors" })
      .catch((error) => { if (error.status !== 404) throw error; }); // before the first checkpoint
    if (file) {
      weights = tensorsIn(file)["linear.0.W"];
      element.hidden = false;
      paint();
    }
    return paramId ? null : PAUSE;
  }, signal);
}

// Black where a pixel does not matter; each unit by its own largest weight.
function tile(weights) {
  const largest = weights.reduce((most, weight) => Math.max(most, Math.abs(weight)), 1e-12);
  const image = new ImageData(SIDE, SIDE);
  weights.forEach((weight, i) => {
    const share = Math.abs(weight) / largest;
    const colour = weight > 0 ? [255, 150, 60] : [80, 160, 255];
    image.data.set([...colour.map((value) => value * share), 255], 4 * i);
  });
  return image;
}
