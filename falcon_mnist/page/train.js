// Start a run: from defaults, a recipe, or as an earlier one.

import { Problem, ask, mayWrite, once, post } from "./api.js";
import { el } from "./dom.js";
import { fieldOf } from "./fields.js";
import { networkFields } from "./networkfields.js";

// `kind` and `name`: "recipe" and its name, or "like" and a run's id.
export async function showTrain(main, signal, kind, name) {
  main.append(el("h1", {}, "Train a network"));
  const [description, recipes, like, write] = await Promise.all([
    once("openapi.json"), once("recipes"), kind === "like" ? ask(`runs/${name}`, { signal }) : null, mayWrite(),
  ]);
  const model = like && await once(`models/${like.model_id}`);
  if (signal.aborted) return;

  const { schemas } = description.components;
  const network = networkFields();
  const hyperparams = fieldOf("hyperparameters", schemas.Hyperparams, schemas);
  const continuing = el("input", { type: "checkbox", id: "continuing" });
  const fault = el("p", { class: "fault", role: "alert" });
  const button = el("button", { class: "primary", disabled: !write }, "Start");
  const choice = el("select", { id: "from", onchange: () => (location.hash = choice.value) },
    el("option", { value: "#/train" }, "Defaults"),
    like && el("option", { value: `#/train/like/${name}` }, `As run ${name.slice(0, 8)}…`),
    recipes.items.map((each) => el("option", { value: `#/train/recipe/${each.name}` }, `Recipe ${each.name}`)));
  choice.value = kind ? `#/train/${kind}/${name}` : "#/train";

  const recipe = kind === "recipe" && recipes.items.find((each) => each.name === name);
  const start = recipe || (like && { architecture: model.architecture, hyperparams: like.hyperparams });
  if (start) {
    network.set(start.architecture);
    hyperparams.set(start.hyperparams);
  }

  async function submit(event) {
    event.preventDefault();
    network.complain("");
    form.querySelectorAll("[aria-invalid]").forEach((input) => input.removeAttribute("aria-invalid"));
    form.querySelectorAll(".fault").forEach((each) => (each.textContent = ""));
    button.disabled = true;
    try {
      const made = await post("models", { architecture: network.value(), hyperparams: hyperparams.value() });
      const from = continuing.checked ? { start_from: like.param_id } : {};
      const run = await post(`models/${made.model_id}/train`, from);
      location.hash = `#/runs/${run.run_id}`;
    } catch (error) {
      complain(error);
    }
    button.disabled = false;
  }

  // Each fault stands beside its field; what belongs to none, above the button.
  function complain(error) {
    fault.textContent = error.message;
    if (!(error instanceof Problem)) return;
    const fields = error.faults.map(({ pointer, detail }) => {
      const [root, ...path] = pointer.split("/").slice(1);
      const field = root === "architecture" ? network : hyperparams.find(path);
      field.complain(`${path.at(-1) ?? root} ${detail}`);
      return field;
    });
    fields[0]?.focus();
  }

  const form = el("form", { class: "train", onsubmit: submit, novalidate: true },
    el("section", { class: "card" },
      el("div", { class: "field" }, el("label", { for: "from" }, "Begin with"), choice),
      recipe && el("p", { class: "hint" }, `${recipe.purpose} After ${recipe.source}.`, reachedBy(recipe)),
      network.element,
      like?.param_id && el("div", { class: "field checked" },
        el("label", { for: "continuing" }, "Begin with what that run has learned"), continuing)),
    el("section", { class: "card hyperparams" }, hyperparams.element),
    fault,
    !write && el("p", { class: "hint" }, "This token may only look."),
    button);
  main.append(form);
}

function reachedBy({ errors, seconds }) {
  if (!errors.length) return "";
  const worst = Math.max(...errors), longest = Math.max(...seconds);
  return ` Measured: ${worst} % of the test digits wrong, ${longest} s.`;
}
