// The ink in photos of digits. Paper is not evenly lit: its brightness is a surface fitted to the picture, and ink is
// what differs from it. As falcon_mnist/client/pictures.py does it, where each number has its reason.

const LEAST_CONTRAST = 0.08, SAMPLED = 3, CELL = 4, LEAST_PART = 0.1;

// RGBA bytes of an opaque picture to the ink of each pixel, 0 to 1; all 0 if no digit can be seen.
export function inkOfPhoto(rgba, width, height) {
  const grey = new Float64Array(width * height);
  for (let i = 0; i < grey.length; i++) {
    grey[i] = (0.299 * rgba[4 * i] + 0.587 * rgba[4 * i + 1] + 0.114 * rgba[4 * i + 2]) / 255;
  }
  const ink = contrast(paperOf(grey, width, height), grey);
  return ink ? withoutDirt(ink, width, height) : new Float64Array(grey.length);
}

// What differs from the paper: it may be darker, or brighter than a board.
function contrast(paper, grey) {
  let difference = paper.map((value, i) => value - grey[i]);
  const noise = quantile(difference.map(Math.abs), 0.5);
  const marked = difference.filter((value) => Math.abs(value) > Math.max(LEAST_CONTRAST, 4 * noise));
  if (sum(marked) < 0) difference = difference.map((value) => -value);
  const least = Math.max(threshold(difference), LEAST_CONTRAST / 2);
  const inked = difference.filter((value) => value > least);
  if (quantile(inked, 1) < LEAST_CONTRAST) return null;
  const most = Math.max(quantile(inked, 0.8), least + LEAST_CONTRAST / 2);
  return difference.map((value) => Math.min(1, Math.max(0, (value - least) / (most - least))));
}

// A surface of second order, by least absolute deviations: the ink, a small part of all, hardly pulls.
function paperOf(grey, width, height) {
  const terms = (i) => {
    const x = -1 + (2 * (i % width)) / Math.max(1, width - 1), y = -1 + (2 * Math.floor(i / width)) / Math.max(1, height - 1);
    return [1, x, y, x * x, x * y, y * y];
  };
  const at = (factors, term) => term.reduce((total, value, k) => total + value * factors[k], 0);
  const some = [];
  for (let y = 0; y < height; y += SAMPLED) {
    for (let x = 0; x < width; x += SAMPLED) some.push({ term: terms(y * width + x), value: grey[y * width + x] });
  }
  let factors = [quantile(some.map(({ value }) => value), 0.5), 0, 0, 0, 0, 0];
  for (let round = 0; round < 15; round++) {
    const equations = Array.from({ length: 6 }, () => new Float64Array(7));
    for (const { term, value } of some) {
      const weight = 1 / Math.max(Math.abs(value - at(factors, term)), 0.01);
      for (let r = 0; r < 6; r++) {
        for (let c = 0; c < 6; c++) equations[r][c] += weight * term[r] * term[c];
        equations[r][6] += weight * term[r] * value;
      }
    }
    factors = solved(equations);
  }
  return grey.map((_, i) => at(factors, terms(i)));
}

// Gauss and Jordan; an unknown that nothing determines is 0.
function solved(equations) {
  const unknowns = equations.length;
  for (let k = 0; k < unknowns; k++) {
    const pivot = equations.slice(k).reduce((best, row) => (Math.abs(row[k]) > Math.abs(best[k]) ? row : best));
    equations.splice(equations.indexOf(pivot), 1);
    equations.splice(k, 0, pivot);
    if (Math.abs(pivot[k]) < 1e-9) pivot.fill(0)[k] = 1;
    for (const row of equations) {
      const share = row === pivot ? 0 : row[k] / pivot[k];
      if (share) row.forEach((value, c) => (row[c] = value - share * pivot[c]));
    }
  }
  return equations.map((row, k) => row[unknowns] / row[k]);
}

// Otsu 1979: the value that parts a picture into two groups as far from each other as can be.
function threshold(values) {
  const kept = values.map((value) => Math.max(0, value));
  const most = quantile(kept, 1) || 1;
  const counts = new Float64Array(256);
  for (const value of kept) counts[Math.min(255, Math.floor((256 * value) / most))]++;
  const total = counts.reduce((all, count, level) => all + count * level, 0);
  let below = 0, sumBelow = 0, best = -1, found = 0;
  for (let level = 0; level < 255; level++) {
    below += counts[level];
    sumBelow += counts[level] * level;
    const above = values.length - below;
    const between = below && above ? ((total - sumBelow) * below - sumBelow * above) ** 2 / (below * above) : 0;
    if (between > best) [best, found] = [between, level];
  }
  return ((found + 1) / 256) * most;
}

// Ink in cells that touch is one part; small parts are dirt.
function withoutDirt(ink, width, height) {
  const columns = Math.ceil(width / CELL), cell = (i) => Math.floor(i / width / CELL) * columns + Math.floor((i % width) / CELL);
  const mass = new Float64Array(columns * Math.ceil(height / CELL));
  ink.forEach((value, i) => (mass[cell(i)] += value));
  const part = new Int32Array(mass.length), masses = [0];
  for (let first = 0; first < mass.length; first++) {
    if (!mass[first] || part[first]) continue;
    const number = masses.push(0) - 1, waiting = [first];
    part[first] = number;
    while (waiting.length) {
      const here = waiting.pop(), x = here % columns;
      masses[number] += mass[here];
      for (const down of [-columns, 0, columns]) {
        for (const right of [-1, 0, 1]) {
          const next = here + down + right;
          if (x + right < 0 || x + right >= columns || !mass[next] || part[next]) continue;
          part[next] = number;
          waiting.push(next);
        }
      }
    }
  }
  const least = LEAST_PART * Math.max(...masses);
  return ink.map((value, i) => (masses[part[cell(i)]] >= least ? value : 0));
}

const sum = (values) => values.reduce((total, value) => total + value, 0);

// Of no values at all 0.
export function quantile(values, share) {
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.floor(share * (sorted.length - 1))] ?? 0;
}
