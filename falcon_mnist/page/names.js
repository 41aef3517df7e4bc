// How things are said in one or two words.

// "784-128-10": the widths of a network.
export function network(architecture) {
  const widths = architecture.layers.filter((layer) => layer.type === "linear").map((layer) => layer.out);
  return [architecture.input_size, ...widths].join("-");
}

export const percent = (share, digits = 1) => (share == null ? "–" : `${(share * 100).toFixed(digits)} %`);

// Three digits: "129,000", "0.054", "2e-7"
export function number(value) {
  if (value == null) return "–";
  if (value !== 0 && Math.abs(value) < 1e-3) return `${Number(value.toPrecision(2))}`;
  return value.toLocaleString("en", { maximumSignificantDigits: 3 });
}

// "40 ms", "4.0 s", "3 min 20 s", "2 h 5 min"
export function duration(seconds) {
  if (seconds == null) return "–";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

// The time of day, and the date where it was not today.
export function moment(timestamp) {
  const when = new Date(timestamp);
  const today = when.toDateString() === new Date().toDateString();
  return when.toLocaleString([], today ? { timeStyle: "short" } : { dateStyle: "medium", timeStyle: "short" });
}
