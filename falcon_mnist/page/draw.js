// Draw a digit, and see what trained networks read in it.

import { ask, once } from "./api.js";
import { SIDE, SUCCEEDED } from "./constants.js";
import { digitCanvas, paintDigit } from "./digit.js";
import { el } from "./dom.js";
import { moment, network, percent } from "./names.js";
import { drawingPad } from "./pad.js";
import { reader } from "./reader.js";

export async function showDraw(main, signal, paramId) {
  const readers = [];
  const side = el("div", { class: "readers" });
  const sent = digitCanvas(`The ${SIDE} × ${SIDE} image that is sent`);
  let drawn = null;

  const pad = drawingPad((pixels) => {
    drawn = pixels;
    paintDigit(sent, pixels);
    readers.forEach((each) => each.read(pixels));
  });
  const complaint = el("p", { class: "fault", role: "alert" });
  const photo = el("input", { type: "file", accept: "image/*", class: "unseen", onchange: () => take(photo.files[0]) });

  async function take(file) {
    complaint.textContent = "";
    try {
      if (file) await pad.show(file);
    } catch {
      complaint.textContent = "The browser cannot read this file as a picture.";
    }
    photo.value = "";
  }

  // One that no network was trained on, for who cannot draw here.
  async function testDigit() {
    try {
      const { count } = await once("digits/test?indices=0");
      const { images } = await ask(`digits/test?indices=${Math.floor(Math.random() * count)}`, { signal });
      pad.present(Uint8Array.from(images[0]));
    } catch (error) {
      complaint.textContent = error.message;
    }
  }

  const drawing = el("section", { class: "card drawing", "aria-label": "Drawing" },
    pad.canvas,
    el("div", { class: "row" },
      el("button", { onclick: pad.clear }, "Clear"),
      el("label", { class: "button" }, photo, "Photo …"),
      el("button", { onclick: testDigit }, "Test digit"),
      el("span", { class: "sent" }, sent, el("span", { class: "hint" }, "as it is sent"))),
    complaint);
  drawing.addEventListener("dragover", (event) => event.preventDefault());
  drawing.addEventListener("drop", (event) => {
    event.preventDefault();
    take(event.dataTransfer.files[0]);
  });
  main.append(el("h1", {}, "Draw a digit"), el("div", { class: "draw" }, drawing, side));

  const networks = await trainedNetworks(signal);
  if (!networks.length) {
    side.append(el("p", { class: "card" },
      "No network has been trained yet. ", el("a", { href: "#/train" }, "Train one"), "."));
    return;
  }

  function add(paramId, removable) {
    const one = reader(networks, paramId, removable && remove);
    function remove() {
      readers.splice(readers.indexOf(one), 1);
      one.element.remove();
    }
    readers.push(one);
    more.before(one.element);
    one.read(drawn);
  }

  // The next one that is not shown yet, for "compare" means another one.
  const addNext = () => add(networks[readers.length % networks.length].param_id, true);
  const more = el("button", { class: "more", onclick: addNext }, "Compare with another network");
  side.append(more);
  add(networks.some((each) => each.param_id === paramId) ? paramId : networks[0].param_id, false);
}

// The newest ones, the best of them first.
async function trainedNetworks(signal) {
  const [{ items }, runs] = await Promise.all([
    ask("params?limit=50", { signal }), ask(`runs?state=${SUCCEEDED}&limit=100`, { signal }),
  ]);
  const models = await Promise.all(items.map((each) => once(`models/${each.model_id}`)));
  const reached = new Map(runs.items.map((run) => [run.param_id, run.metrics.val_accuracy]));
  return items
    .map((each, i) => {
      const accuracy = reached.get(each.param_id) ?? null;
      const origin = each.run_id ? percent(accuracy, 2) : "imported";
      return { ...each, accuracy, name: [network(models[i].architecture), origin, moment(each.created_at)].join(" · ") };
    })
    .sort((one, other) => (other.accuracy ?? -1) - (one.accuracy ?? -1));
}
