// A digit of 784 bytes on a canvas of 28 × 28, white on black.

import { el } from "./dom.js";

export function digitCanvas(label) {
  return el("canvas", { width: 28, height: 28, class: "digit", role: "img", "aria-label": label });
}

export function paintDigit(canvas, pixels) {
  const image = new ImageData(28, 28);
  for (let i = 0; i < 784; i++) {
    const value = pixels ? pixels[i] : 0;
    image.data.set([value, value, value, 255], 4 * i);
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}
