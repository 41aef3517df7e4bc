// Pictures made as those of MNIST were: white ink on black, fitted into 20 × 20 with its proportions, and put into
// 28 × 28 so that its centre of mass is in the middle. No browser's own scaling is used, for each does it differently.

import { SIDE } from "./constants.js";
import { quantile } from "./photo.js";

const BOX = 20;
// MNIST's centres of mass are at pixel 14, counted from 0.
const MIDDLE = 14;

// `ink` (width × height, 0 to 1) to 784 bytes; null if there is no ink.
export function prepare(ink, width, height) {
  const bounds = boundsOf(ink, width, height);
  if (!bounds) return null;
  const { left, top, right, bottom } = bounds;
  const scale = BOX / Math.max(right - left, bottom - top);
  const columns = Math.max(1, Math.round((right - left) * scale));
  const rows = Math.max(1, Math.round((bottom - top) * scale));
  const fitted = new Float32Array(columns * rows);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const x0 = left + (column * (right - left)) / columns, x1 = left + ((column + 1) * (right - left)) / columns;
      const y0 = top + (row * (bottom - top)) / rows, y1 = top + ((row + 1) * (bottom - top)) / rows;
      fitted[row * columns + column] = mean(ink, width, height, x0, y0, x1, y1);
    }
  }
  return centred(full(fitted), columns, rows);
}

// Thin strokes are grey when they are made small; MNIST's are white.
function full(fitted) {
  const least = 0.1 * fitted.reduce((most, value) => Math.max(most, value), 0);
  const white = quantile(fitted.filter((value) => value > least), 0.7);
  return fitted.map((value) => Math.min(1, value / white));
}

function boundsOf(ink, width, height) {
  let left = width, top = height, right = 0, bottom = 0;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (!ink[y * width + x]) continue;
      left = Math.min(left, x);
      right = Math.max(right, x + 1);
      top = Math.min(top, y);
      bottom = Math.max(bottom, y + 1);
    }
  }
  return right > left ? { left, top, right, bottom } : null;
}

// Over a rectangle whose edges may lie within pixels.
function mean(ink, width, height, x0, y0, x1, y1) {
  let sum = 0, area = 0;
  for (let y = Math.floor(y0); y < Math.min(height, Math.ceil(y1)); y++) {
    const tall = Math.min(y + 1, y1) - Math.max(y, y0);
    for (let x = Math.floor(x0); x < Math.min(width, Math.ceil(x1)); x++) {
      const share = tall * (Math.min(x + 1, x1) - Math.max(x, x0));
      sum += share * ink[y * width + x];
      area += share;
    }
  }
  return sum / area;
}

function centred(fitted, columns, rows) {
  let mass = 0, x = 0, y = 0;
  fitted.forEach((value, index) => {
    mass += value;
    x += value * (index % columns);
    y += value * Math.floor(index / columns);
  });
  const left = offset(x / mass, columns), top = offset(y / mass, rows);
  const pixels = new Uint8Array(SIDE * SIDE);
  fitted.forEach((value, index) => {
    const row = top + Math.floor(index / columns), column = left + (index % columns);
    pixels[row * SIDE + column] = Math.round(255 * Math.min(1, value));
  });
  return pixels;
}

// Where the fitted picture begins; it stays within the image.
const offset = (centre, length) => Math.min(SIDE - length, Math.max(0, Math.round(MIDDLE - centre)));
