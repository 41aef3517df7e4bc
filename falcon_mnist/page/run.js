// One run as it is now, with up to four others laid over it.

import { ask, mayWrite, once, repeat } from "./api.js";
import { RUNNING } from "./constants.js";
import { comparison } from "./compare.js";
import { curlFor } from "./curl.js";
import { chart } from "./curves.js";
import { el } from "./dom.js";
import { duration, moment, network, number, percent } from "./names.js";
import { showMistakes } from "./mistakes.js";
import { active, bestOf, cancelRun, deleteRun, finishRun, progress, stateBadge, timeOf } from "./runrow.js";
import { showWeights } from "./weights.js";

const MOST = 5;

export async function showRun(main, signal, list) {
  const ids = list.split(",").slice(0, MOST);
  const write = await mayWrite();
  const head = el("div");
  const loss = chart("Loss", number, { logarithmic: true });
  const accuracy = chart("Accuracy", percent, { tick: (value) => `${Number((value * 100).toPrecision(4))} %` });
  const rate = chart("Learning rate", number);
  const mistakes = el("div");
  const weights = el("div");
  const below = el("div");
  const charts = el("div", { class: "charts" }, loss.element, accuracy.element, rate.element);
  let shown = "";
  let first = null; // the run that all of the page is about
  const seen = { weights: false, mistakes: false };

  // What has ended never changes: it is asked for once.
  const ended = new Map();
  async function current(id) {
    const run = ended.get(id) ?? await ask(`runs/${id}`, { signal });
    if (!active(run)) ended.set(id, run);
    return run;
  }

  async function look() {
    const runs = await Promise.all(ids.map(current));
    const models = await Promise.all(runs.map((run) => once(`models/${run.model_id}`)));
    if (signal.aborted) return null;
    const now = JSON.stringify(runs.map((run) => [run.state, run.epoch]));
    const entries = runs.map((run, i) => ({
      run, model: models[i], className: `run-${i}`,
      name: `${network(models[i].architecture)} ${ids[i].slice(2, 6)}`,
    }));
    if (!shown) main.append(head, charts, mistakes, weights, below); // not before it is known that there is such a run
    if (now !== shown) show(entries);
    shown = now;
    first = runs[0];
    if (ids.length === 1) explain();
    if (!runs.some(active)) return null;
    return runs.some((run) => run.history.length > 300) ? 3000 : 1000;
  }

  // What is seen in the parameters: weights as soon as there are some, mistakes once the run has succeeded.
  function explain() {
    if (!seen.weights) showWeights(weights, () => first, signal);
    seen.weights = true;
    if (!first.param_id || seen.mistakes) return;
    seen.mistakes = true;
    showMistakes(mistakes, first.param_id, signal).catch((error) => {
      if (!signal.aborted) mistakes.append(el("p", { class: "card hint" }, error.message));
    });
  }

  function show(entries) {
    const [{ run, model }] = entries;
    const alone = entries.length === 1;
    if (alone) head.replaceChildren(title(run, model, write, look), facts(run));
    else head.replaceChildren(el("h1", {}, `${entries.length} runs`));
    const epochs = Math.max(...entries.map(({ run }) => (active(run) ? run.epochs_total : run.epoch)));
    const mark = (member) => {
      const entry = alone && run.best_epoch && run.history[run.best_epoch - 1];
      return entry && entry[member] !== null ? [entry.epoch, entry[member]] : null;
    };
    loss.draw(seriesOf(entries, "loss"), epochs, mark("val_loss"));
    accuracy.draw(seriesOf(entries, "accuracy"), epochs, mark("val_accuracy"));
    rate.draw(entries.map((entry) => series(alone ? "learning rate" : entry.name, entry.className, entry.run, "lr")), epochs, null);
    below.replaceChildren(comparison(entries), overlay(ids), alone ? curlFor(run, model) : "");
  }

  await repeat(look, signal);
}

// Of one run, training and validation in two colours; of several, a colour each, and training dashed.
function seriesOf(entries, measure) {
  const alone = entries.length === 1;
  return entries.flatMap(({ run, name, className }) => [
    series(alone ? "validation" : name, className, run, `val_${measure}`),
    series(alone ? "training" : "", alone ? "run-1" : `${className} dashed`, run, `train_${measure}`),
  ]);
}

function series(name, className, run, member) {
  const points = run.history.filter((entry) => entry[member] !== null).map((entry) => [entry.epoch, entry[member]]);
  return { name, className, points };
}

function title(run, model, write, changed) {
  return el("div", { class: "row spread" },
    el("div", { class: "row" }, el("h1", {}, network(model.architecture)), stateBadge(run)),
    el("div", { class: "row" },
      run.param_id && el("a", { class: "button", href: `#/draw/${run.param_id}` }, "Draw a digit"),
      write && el("a", { class: "button", href: `#/train/like/${run.run_id}` }, "Train again with …"),
      write && run.state === RUNNING && el("button", { onclick: () => finishRun(run.run_id, changed) }, "Stop and keep"),
      write && active(run) && el("button", { onclick: () => cancelRun(run.run_id, changed) }, "Cancel"),
      write && !active(run) && el("button", { onclick: () => deleteRun(run.run_id, () => (location.hash = "#/runs")) },
        "Delete")));
}

function facts(run) {
  const list = [
    ["Epochs", progress(run)],
    ["Best validation accuracy", bestOf(run)],
    ["Loss, last epoch", number(run.metrics.val_loss ?? run.metrics.train_loss)],
    ["Samples a second", number(run.samples_per_second)],
    ["Time", timeOf(run)],
    ["Seconds an epoch", duration(run.history.at(-1)?.seconds)],
    ["Data set", run.dataset?.name ?? "–"],
    ["Started", run.started_at ? moment(run.started_at) : "–"],
  ];
  return el("section", { class: "card", "aria-label": "How it is doing" },
    run.error && el("p", { class: "fault" }, run.error.message),
    el("dl", { class: "figures" }, list.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value)))));
}

function overlay(ids) {
  const choice = el("select", { id: "overlay" }, el("option", { value: "" }, "another run …"));
  choice.addEventListener("focus", async () => {
    if (choice.options.length > 1) return;
    const { items } = await ask("runs?limit=50");
    const others = items.filter((run) => run.epoch > 0 && !ids.includes(run.run_id));
    const models = await Promise.all(others.map((run) => once(`models/${run.model_id}`)));
    choice.append(...others.map((run, i) => el("option", { value: run.run_id },
      `${network(models[i].architecture)} ${run.run_id.slice(2, 6)} · ${percent(run.metrics.val_accuracy, 2)}`)));
  });
  choice.addEventListener("change", () => (location.hash = `#/runs/${[...ids, choice.value].join(",")}`));
  return el("div", { class: "card row" },
    ids.length < MOST && [el("label", { for: "overlay" }, "Lay over"), choice],
    ids.length > 1 && el("a", { class: "button", href: `#/runs/${ids[0]}` }, "Only the first"));
}
