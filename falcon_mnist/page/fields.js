// Form fields made from a JSON schema of the OpenAPI document: what the service knows, the form knows.
//
// Each field is {element, value(), set(value), find(path)}: `find` gives the field that a JSON Pointer's steps name.

import { el } from "./dom.js";

let count = 0;

// `schemas` are the document's components, which `$ref` names.
export function fieldOf(name, schema, schemas) {
  if (schema.$ref) return fieldOf(name, { ...resolve(schema.$ref, schemas), ...schema, $ref: undefined }, schemas);
  if (schema.anyOf) return optional(name, schema, schemas);
  if (schema.oneOf) return choice(name, schema, schemas);
  if (schema.type === "object") return group(name, schema, schemas);
  const options = schema.enum ?? ("const" in schema ? [schema.const] : null);
  if (options) return labelled(name, schema, el("select", {}, options.map((each) => el("option", {}, each))));
  if (schema.type === "boolean") return labelled(name, schema, el("input", { type: "checkbox" }), "checked");
  return labelled(name, schema, el("input", { inputmode: "decimal", autocomplete: "off" }), "number");
}

const resolve = (reference, schemas) => schemas[reference.split("/").pop()];

// "batch_size" to "Batch size"
const titleOf = (name) => (name.charAt(0).toUpperCase() + name.slice(1)).replaceAll("_", " ");

function labelled(name, schema, input, kind = "value") {
  const id = `field-${++count}`;
  const fault = el("p", { id: `${id}-fault`, class: "fault" });
  const range = kind === "number" ? rangeOf(schema) : "";
  input.id = id;
  input.setAttribute("aria-describedby", `${id}-range ${id}-fault`);
  const read = {
    value: () => input.value,
    checked: () => input.checked,
    // What is no number is sent as it stands, for the server to say so.
    number: () => (input.value.trim() === "" || Number.isNaN(Number(input.value)) ? input.value : Number(input.value)),
  };
  const field = {
    element: el("div", { class: `field ${kind}` },
      el("label", { for: id }, titleOf(name)), input, el("span", { id: `${id}-range`, class: "hint" }, range), fault),
    value: read[kind],
    set: (value) => (kind === "checked" ? (input.checked = value) : (input.value = value)),
    find: () => field,
    complain: (text) => {
      fault.textContent = text;
      text ? input.setAttribute("aria-invalid", "true") : input.removeAttribute("aria-invalid");
    },
    focus: () => input.focus(),
  };
  if ("default" in schema || "const" in schema) field.set(schema.default ?? schema.const);
  return field;
}

// "1 to 1000", "above 0 to 100", "from 0"
function rangeOf({ minimum, exclusiveMinimum, maximum, exclusiveMaximum }) {
  const low = minimum ?? `above ${exclusiveMinimum}`;
  if (maximum === undefined && exclusiveMaximum === undefined) return `from ${low}`;
  if (maximum > Number.MAX_SAFE_INTEGER) return `from ${low}`;
  return `${low} to ${maximum ?? `below ${exclusiveMaximum}`}`;
}

function group(name, schema, schemas, members = {}) {
  const fields = Object.entries(schema.properties)
    .filter(([member]) => !(member in members))
    .map(([member, each]) => [member, fieldOf(member, each, schemas)])
    .sort(([, one], [, other]) => Boolean(one.nested) - Boolean(other.nested)); // single values stand first
  const fault = el("p", { class: "fault" });
  const all = Object.fromEntries([...Object.entries(members), ...fields]);
  const self = {
    nested: true,
    element: el("fieldset", { title: schema.description }, el("legend", {}, titleOf(name)), fault,
      el("div", { class: "fields" }, Object.values(all).map((field) => field.element))),
    value: () => Object.fromEntries(Object.entries(all).map(([member, field]) => [member, field.value()])),
    set: (value) => fields.forEach(([member, field]) => member in value && field.set(value[member])),
    find: ([step, ...rest]) => all[step]?.find(rest) ?? self,
    complain: (text) => (fault.textContent = text),
    focus: () => {},
  };
  return self;
}

// One of several objects, told apart by a member: a list to choose from, and the fields of what is chosen.
function choice(name, schema, schemas) {
  const { mapping, propertyName } = schema.discriminator;
  const select = labelled(propertyName, { enum: Object.keys(mapping) },
    el("select", {}, Object.keys(mapping).map((each) => el("option", {}, each))));
  const place = el("div");
  let chosen;
  function choose() {
    chosen = group(name, resolve(mapping[select.value()], schemas), schemas, { [propertyName]: select });
    place.replaceChildren(chosen.element);
  }
  const set = (value) => {
    select.set(value[propertyName]);
    choose();
    chosen.set(value);
  };
  select.element.addEventListener("change", () => { choose(); select.focus(); });
  set(schema.default);
  return {
    nested: true,
    element: place,
    value: () => chosen.value(),
    set,
    find: (path) => chosen.find(path),
  };
}

// Something or null: a box to tick, and the fields of what there is then.
function optional(name, schema, schemas) {
  const some = fieldOf(name, schema.anyOf.find((each) => each.type !== "null"), schemas);
  const id = `field-${++count}`;
  const box = el("input", { type: "checkbox", id });
  const show = () => (some.element.hidden = !box.checked);
  box.addEventListener("change", show);
  show();
  return {
    nested: true,
    element: el("div", { class: "optional" },
      el("div", { class: "field checked" }, el("label", { for: id }, titleOf(name)), box), some.element),
    value: () => (box.checked ? some.value() : null),
    set: (value) => {
      box.checked = value !== null;
      if (value !== null) some.set(value);
      show();
    },
    find: (path) => some.find(path),
  };
}
