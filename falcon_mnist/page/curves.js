// A chart of values by epoch.

import { el, svg } from "./dom.js";
import { scale } from "./scales.js";

const WIDTH = 360, HEIGHT = 210;
const LEFT = 46, RIGHT = 10, TOP = 10, BOTTOM = 24;

// `say(value)` writes a value, `tick(value)` one of the axis. `draw` takes the series [{name, className, points:
// [[epoch, value], …]}] (one without a name is drawn and no more), the last epoch there can be, and the place to mark,
// [epoch, value] or null.
export function chart(title, say, { tick: sayTick = say, logarithmic = false } = {}) {
  const plot = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", class: "plot" });
  const caption = el("p", { class: "hint reading" });
  const key = el("ul", { class: "key" });
  const element = el("figure", { class: "card chart" }, el("figcaption", {}, el("h2", {}, title)), plot, caption, key);
  let shown = null;

  function draw(series, epochs, mark) {
    const drawn = series.filter(({ points }) => points.length);
    element.hidden = !drawn.length;
    if (!drawn.length) return;
    const values = drawn.flatMap(({ points }) => points.map(([, value]) => value));
    const x = scale(1, Math.max(2, epochs), LEFT, WIDTH - RIGHT);
    const y = scale(Math.min(...values), Math.max(...values), HEIGHT - BOTTOM, TOP, logarithmic);
    shown = { drawn, x };
    plot.replaceChildren(
      ...y.ticks.map((tick) => svg("g", {},
        svg("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y.at(tick), y2: y.at(tick) }),
        svg("text", { class: "tick", x: LEFT - 6, y: y.at(tick) + 4, "text-anchor": "end" }, sayTick(tick)))),
      ...x.ticks.filter(Number.isInteger).map((tick) =>
        svg("text", { class: "tick", x: x.at(tick), y: HEIGHT - 6, "text-anchor": "middle" }, `${tick}`)),
      ...drawn.map(({ className, points }) => svg("polyline", {
        class: `line ${className}`,
        points: points.map(([epoch, value]) => `${x.at(epoch).toFixed(1)},${y.at(value).toFixed(1)}`).join(" "),
      })),
      // A single epoch makes no line.
      ...drawn.filter(({ points }) => points.length === 1).map(({ className, points: [[epoch, value]] }) =>
        svg("circle", { class: `dot ${className}`, cx: x.at(epoch), cy: y.at(value), r: 3 })),
      ...(mark ? [
        svg("line", { class: "mark", x1: x.at(mark[0]), x2: x.at(mark[0]), y1: TOP, y2: HEIGHT - BOTTOM }),
        svg("circle", { class: "dot best", cx: x.at(mark[0]), cy: y.at(mark[1]), r: 5 })] : []));
    key.replaceChildren(...drawn.filter(({ name }) => name).map(({ name, className }) => el("li", { class: className }, name)),
      ...(mark ? [el("li", { class: "marked" }, `lowest loss: epoch ${mark[0]}`)] : []));
    plot.setAttribute("aria-label", `${title} by epoch. ${reading(Infinity)}`);
    caption.textContent = reading(Infinity);
  }

  // What the lines say at the epoch that is nearest.
  function reading(epoch) {
    const parts = shown.drawn.filter(({ name }) => name).map(({ name, points }) => {
      const [, value] = points.findLast(([each]) => each <= epoch) ?? points[0];
      return `${name} ${say(value)}`;
    });
    const last = Math.max(...shown.drawn.map(({ points }) => points.at(-1)[0]));
    return `Epoch ${Math.min(epoch, last)}: ${parts.join(", ")}`;
  }

  plot.addEventListener("pointermove", (event) => {
    const { left, width } = plot.getBoundingClientRect();
    const place = ((event.clientX - left) / width) * WIDTH;
    const last = Math.max(...shown.drawn.map(({ points }) => points.at(-1)[0]));
    const spacing = shown.x.at(2) - shown.x.at(1);
    const epoch = Math.round(1 + (place - LEFT) / spacing);
    caption.textContent = reading(Math.min(last, Math.max(1, epoch)));
  });
  plot.addEventListener("pointerleave", () => (caption.textContent = reading(Infinity)));
  return { element, draw };
}
