// A run in one row.

import { ask, once, post } from "./api.js";
import { QUEUED, RUNNING } from "./constants.js";
import { el } from "./dom.js";
import { duration, moment, network, number, percent } from "./names.js";

export const active = (run) => run.state === QUEUED || run.state === RUNNING;

// `changed` is called after something was done with the run.
export function runRow(first, write, changed) {
  const cells = Array.from({ length: 8 }, () => el("td"));
  const link = el("a", { href: `#/runs/${first.run_id}` }, first.run_id.slice(0, 8));
  once(`models/${first.model_id}`).then((model) => (link.textContent = network(model.architecture)), () => {});
  const cancel = el("button", { onclick: () => cancelRun(first.run_id, changed) }, "Cancel");
  const remove = el("button", { onclick: () => deleteRun(first.run_id, changed) }, "Delete");
  const again = el("a", { class: "button", href: `#/train/like/${first.run_id}` }, "Again");
  cells[1].append(link);
  cells[7].append(el("div", { class: "row" }, cancel, again, remove));
  let shown = "";

  function update(run) {
    const now = JSON.stringify(run);
    if (now === shown) return;
    shown = now;
    fill(cells[0], stateBadge(run), run.error && el("span", { class: "fault" }, ` ${run.error.message}`));
    fill(cells[2], progress(run));
    fill(cells[3], percent(run.best_accuracy?.val_accuracy ?? null, 2),
      run.best_accuracy && el("span", { class: "hint" }, ` epoch ${run.best_accuracy.epoch}`));
    fill(cells[4], run.samples_per_second == null ? "–" : `${number(run.samples_per_second)}/s`);
    fill(cells[5], timeOf(run));
    fill(cells[6], moment(run.created_at));
    cancel.hidden = !write || !active(run);
    again.hidden = !write;
    remove.hidden = !write || active(run);
  }

  return { element: el("tr", {}, cells), update };
}

const fill = (cell, ...children) => cell.replaceChildren(...children.filter(Boolean));

export const stateBadge = (run) => el("span", { class: `badge ${run.state}` }, run.state);

export function progress(run) {
  const bar = el("span", { class: "fill on" });
  bar.style.width = `${(100 * run.epoch) / run.epochs_total}%`;
  return el("div", { class: "progress" },
    el("span", {
      class: "bar", role: "progressbar", "aria-label": "Epochs", "aria-valuemin": 0,
      "aria-valuenow": run.epoch, "aria-valuemax": run.epochs_total,
    }, bar),
    el("span", { class: "hint" }, `${run.epoch} of ${run.epochs_total}`));
}

export const bestOf = ({ best_accuracy: best }) =>
  best ? `${percent(best.val_accuracy, 2)} in epoch ${best.epoch}` : "–";

export function timeOf(run) {
  if (run.state === RUNNING) return run.eta_seconds == null ? "–" : `${duration(run.eta_seconds)} left`;
  if (!run.started_at || !run.finished_at) return "–";
  return duration((new Date(run.finished_at) - new Date(run.started_at)) / 1000);
}

export const finishRun = (runId, changed) => change(() => post(`runs/${runId}/finish`, {}), changed);

export async function cancelRun(runId, changed) {
  if (!confirm("Cancel this run? What it has learned is lost.")) return;
  await change(() => post(`runs/${runId}/cancel`, {}), changed);
}

export async function deleteRun(runId, changed) {
  if (!confirm("Delete this run, and the network that it trained?")) return;
  await change(() => ask(`runs/${runId}`, { method: "DELETE" }), changed);
}

async function change(what, changed) {
  try {
    await what();
  } catch (error) {
    alert(error.message);
  }
  try {
    await changed();
  } catch {
    // The view has been left, or asks again soon and says then what fails.
  }
}
