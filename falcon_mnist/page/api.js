// Requests to the server that the page came from.

import { authorization } from "./session.js";

// An answer that is not a success: RFC 9457. `faults` has one {pointer, detail} for each fault in what was sent.
export class Problem extends Error {
  constructor(status, document) {
    super(document.detail ?? `The server answered ${status}.`);
    this.status = status;
    this.faults = document.errors ?? [];
  }
}

// No answer came: the server or the network is gone.
export class Unreachable extends Error {}

const JSON_TYPE = "application/json";
export const RETRY_PAUSE = 2000; // milliseconds

let unauthorized = () => {};
let reached = () => {};
export const onUnauthorized = (callback) => (unauthorized = callback);
export const reachable = (callback) => (reached = callback);

// Relative to the page, so that it also works behind a prefix that a proxy strips.
export const address = (path) => new URL(`api/${path}`, document.baseURI).href;

// The answer's JSON, or its bytes where another type is wanted.
export async function ask(path, { method = "GET", body, type = JSON_TYPE, accept = JSON_TYPE, signal } = {}) {
  const headers = { Authorization: authorization(), Accept: accept };
  if (body !== undefined) headers["Content-Type"] = type;
  let response;
  try {
    response = await fetch(address(path), { method, headers, body, signal });
  } catch (error) {
    if (signal?.aborted) throw error;
    reached(false);
    throw new Unreachable("The server does not answer.");
  }
  reached(true);
  if (response.status === 204) return null;
  if (response.ok) return accept === JSON_TYPE ? response.json() : response.arrayBuffer();
  const document = await response.json();
  if (response.status === 401) unauthorized();
  throw new Problem(response.status, document);
}

export const post = (path, document, options = {}) =>
  ask(path, { method: "POST", body: JSON.stringify(document), ...options });

// What never changes is asked for once with each token.
const kept = new Map();
export function once(path) {
  const key = `${authorization()} ${path}`;
  if (!kept.has(key)) {
    const answer = ask(path);
    kept.set(key, answer);
    answer.catch(() => kept.delete(key));
  }
  return kept.get(key);
}

// What the token may do.
export const mayWrite = async () => (await once("status")).token === "write";

// Calls `look` again after as many milliseconds as it returns, until that is null or `signal` aborts; not while the
// page is hidden. A server that is gone or busy is asked again.
export async function repeat(look, signal) {
  let milliseconds = RETRY_PAUSE;
  while (!signal.aborted) {
    try {
      if (!document.hidden) milliseconds = await look();
      if (milliseconds === null) return;
    } catch (error) {
      if (signal.aborted || (error instanceof Problem && error.status === 401)) return;
      if (!(error instanceof Unreachable || error.status >= 500)) throw error;
      milliseconds = RETRY_PAUSE;
    }
    await pause(milliseconds, signal);
  }
}

function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => { clearTimeout(timer); resolve(); }, { once: true });
  });
}
