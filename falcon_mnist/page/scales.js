// From values to places on an axis, and the round values that are written beside it.

// `low` and `high` go to `from` and `to`; on a logarithmic scale where the values span more than a factor of 30.
export function scale(low, high, from, to, mayBeLogarithmic = false) {
  if (low === high) [low, high] = [low - (Math.abs(low) / 2 || 1), high + (Math.abs(high) / 2 || 1)];
  const logarithmic = mayBeLogarithmic && low > 0 && high / low > 30;
  const place = logarithmic ? Math.log : (value) => value;
  const span = place(high) - place(low) || 1;
  const at = (value) => from + ((place(value) - place(low)) / span) * (to - from);
  return { at, ticks: logarithmic ? powers(low, high) : steps(low, high) };
}

// Four to eight round values.
function steps(low, high) {
  const rough = (high - low) / 4 || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).findLast((each) => each <= rough);
  const found = [];
  for (let i = Math.ceil(low / step); i * step <= high + step * 1e-9; i++) found.push(Number((i * step).toPrecision(12)));
  return found;
}

// 0.01, 0.02, 0.05, 0.1, …; the powers of ten alone where there would be many.
function powers(low, high) {
  const factors = high / low > 1e4 ? [1] : [1, 2, 5];
  const found = [];
  for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; power++) {
    found.push(...factors.map((each) => Number((each * 10 ** power).toPrecision(12))));
  }
  return found.filter((each) => each >= low && each <= high);
}
