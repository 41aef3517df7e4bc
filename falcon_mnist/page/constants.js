// What the server counts by, as in falcon_mnist/constants.py; tests/api/test_page_facts.py holds them together.

export const SIDE = 28; // pixels
export const PIXELS = SIDE * SIDE;
export const CLASSES = 10;

export const STATES = ["queued", "running", "succeeded", "failed", "cancelled"];
export const [QUEUED, RUNNING, SUCCEEDED] = STATES;
