// Where a network is wrong: its confusion matrix on the test digits, and the digits it takes for others.

import { ask, once } from "./api.js";
import { CLASSES } from "./constants.js";
import { digitCanvas, paintDigit } from "./digit.js";
import { el } from "./dom.js";
import { number, percent } from "./names.js";

const MOST = 40; // digits shown at the same time
const LEARNED = 0.2; // below this accuracy a network has learned next to nothing, as `falcon-mnist train` has it
const DIGITS = [...Array(CLASSES).keys()];

export async function showMistakes(place, paramId, signal) {
  const found = await once(`params/${paramId}/evaluation`);
  if (signal.aborted) return;
  const count = found.confusion.flat().reduce((sum, each) => sum + each, 0);
  const wrong = count - DIGITS.reduce((sum, digit) => sum + found.confusion[digit][digit], 0);
  const shown = el("div", { "aria-live": "polite" });

  // The surest mistakes come first; of a large data set not all stand in the list.
  async function show(title, wanted) {
    const mistakes = found.mistakes.filter(wanted).slice(0, MOST);
    const digits = await digitsOf(mistakes, found.dataset.checksum, signal)
      .catch((error) => el("p", { class: "hint" }, error.message));
    shown.replaceChildren(el("h3", {}, title), digits);
  }

  place.append(el("section", { class: "card" },
    el("h2", {}, "Where it is wrong"),
    el("p", {}, el("strong", {}, percent(found.accuracy, 2)), ` of ${count.toLocaleString("en")} test digits are right, `,
      `${wrong.toLocaleString("en")} wrong; loss ${number(found.loss)}.`),
    found.accuracy < LEARNED && el("p", { class: "fault" }, "The network did not learn: guessing gets 10 % right. ",
      "Try a smaller learning rate (0.1 is usual with sgd, 0.001 with adam and adamw), or more epochs."),
    el("div", { class: "wrong" },
      el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Confusion matrix" },
        matrix(found.confusion, (label, predicted) =>
          show(`${label} taken for ${predicted}`, (each) => each.label === label && each.predicted === predicted))),
      shown)));
  await show("The surest mistakes", () => true);
}

function matrix(confusion, choose) {
  const most = Math.max(1, ...confusion.flatMap((row, label) => row.filter((_, predicted) => predicted !== label)));
  return el("table", { class: "confusion" },
    el("caption", { class: "hint" }, "Rows: what it is. Columns: what was said."),
    el("thead", {}, el("tr", {}, el("td"), DIGITS.map((digit) => el("th", { scope: "col" }, `${digit}`)))),
    el("tbody", {}, confusion.map((row, label) => el("tr", {}, el("th", { scope: "row" }, `${label}`),
      row.map((count, predicted) => cell(count, label, predicted, most, choose))))));
}

function cell(count, label, predicted, most, choose) {
  if (label === predicted) return el("td", { class: "right" }, `${count}`);
  if (!count) return el("td", { class: "none" }, "·");
  const button = el("button", {
    "aria-label": `${count} times ${label} taken for ${predicted}`, onclick: () => choose(label, predicted),
  }, `${count}`);
  button.style.setProperty("--heat", `${Math.round(60 * Math.sqrt(count / most))}%`);
  return el("td", {}, button);
}

async function digitsOf(mistakes, checksum, signal) {
  if (!mistakes.length) return el("p", { class: "hint" }, "None of them is among the surest 1,000.");
  const { images, dataset } = await ask(`digits/test?indices=${mistakes.map((each) => each.index)}`, { signal });
  if (dataset.checksum !== checksum) {
    return el("p", { class: "hint" }, "This server has another data set than the network was tested on.");
  }
  return el("ul", { class: "digits" }, mistakes.map(({ index, label, predicted, confidence }, i) => {
    const canvas = digitCanvas(`Test digit ${index}, a ${label}`);
    paintDigit(canvas, images[i]);
    return el("li", { title: `Test digit ${index}` }, canvas,
      el("span", {}, `${label} → `, el("b", {}, `${predicted}`)), el("span", { class: "hint" }, percent(confidence)));
  }));
}
