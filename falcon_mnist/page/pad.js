// The square to draw on: with a mouse, a finger or a pen, or by dropping a photo of a digit.

import { SIDE } from "./constants.js";
import { el } from "./dom.js";
import { inkOfPhoto } from "./photo.js";
import { prepare } from "./prepare.js";

const SCALE = 10, PAD = SCALE * SIDE; // pixels of the square to one of the digit, and to a side
// A pen as thick as those of MNIST, when a digit fills most of the square.
const PEN = 20;

// `changed` gets the 784 bytes that the picture becomes, or null when it is empty; `done` says that a stroke ended.
export function drawingPad(changed) {
  const canvas = el("canvas", {
    width: PAD, height: PAD, class: "pad", role: "img",
    "aria-label": "Draw a digit here with mouse, finger or pen",
  });
  const paint = canvas.getContext("2d", { willReadFrequently: true });
  const ink = new Float32Array(PAD * PAD);
  let last = null;
  let waiting = false;

  function clear() {
    paint.fillStyle = "black";
    paint.fillRect(0, 0, PAD, PAD);
    changed(null);
  }

  function look() {
    waiting = false;
    const { data } = paint.getImageData(0, 0, PAD, PAD);
    for (let i = 0; i < ink.length; i++) ink[i] = data[4 * i] / 255;
    changed(prepare(ink, PAD, PAD));
  }

  // At most once for each frame that the screen shows.
  function lookSoon() {
    if (!waiting) requestAnimationFrame(look);
    waiting = true;
  }

  function place(event) {
    const { left, top, width } = canvas.getBoundingClientRect();
    return [((event.clientX - left) / width) * PAD, ((event.clientY - top) / width) * PAD];
  }

  function lineTo(event) {
    for (const step of event.getCoalescedEvents?.() ?? [event]) {
      const here = place(step);
      paint.beginPath();
      paint.moveTo(...last);
      paint.lineTo(...here);
      paint.stroke();
      last = here;
    }
    lookSoon();
  }

  Object.assign(paint, { strokeStyle: "white", lineWidth: PEN, lineCap: "round", lineJoin: "round" });
  canvas.addEventListener("pointerdown", (event) => {
    if (!event.isPrimary || event.button !== 0) return;
    canvas.setPointerCapture(event.pointerId);
    last = place(event);
    paint.beginPath();
    paint.arc(...last, PEN / 2, 0, 7);
    paint.fillStyle = "white";
    paint.fill();
    lookSoon();
  });
  canvas.addEventListener("pointermove", (event) => last && event.isPrimary && lineTo(event));
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (last = null));

  // An image file, fitted into the square.
  async function show(file) {
    const picture = await createImageBitmap(file);
    const scale = PAD / Math.max(picture.width, picture.height);
    const width = Math.max(1, Math.round(picture.width * scale));
    const height = Math.max(1, Math.round(picture.height * scale));
    paint.imageSmoothingQuality = "high";
    paint.fillStyle = "white"; // the paper of what is transparent
    paint.fillRect(0, 0, width, height);
    paint.drawImage(picture, 0, 0, width, height);
    const grey = inkOfPhoto(paint.getImageData(0, 0, width, height).data, width, height);
    const shown = paint.createImageData(width, height);
    grey.forEach((value, i) => shown.data.set([255 * value, 255 * value, 255 * value, 255], 4 * i));
    clear();
    paint.putImageData(shown, (PAD - width) >> 1, (PAD - height) >> 1);
    look();
  }

  // 784 bytes, which need no preparation.
  function present(pixels) {
    clear();
    pixels.forEach((value, i) => {
      paint.fillStyle = `rgb(${value}, ${value}, ${value})`;
      paint.fillRect((i % SIDE) * SCALE, Math.floor(i / SIDE) * SCALE, SCALE, SCALE);
    });
    changed(pixels);
  }

  clear();
  return { canvas, clear, show, present };
}
