// A digit, one byte for each pixel, on a canvas, white on black.

import { PIXELS, SIDE } from "./constants.js";
import { el } from "./dom.js";

export function digitCanvas(label) {
  return el("canvas", { width: SIDE, height: SIDE, class: "digit", role: "img", "aria-label": label });
}

export function paintDigit(canvas, pixels) {
  const image = new ImageData(SIDE, SIDE);
  for (let i = 0; i < PIXELS; i++) {
    const value = pixels ? pixels[i] : 0;
    image.data.set([value, value, value, 255], 4 * i);
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}
