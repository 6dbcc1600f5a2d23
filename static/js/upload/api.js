// The API as this page uses it. Every failure is an ApiError.
import { noAnswer, noAnswerInTime, problem } from "./errors.js";

const API = "/api/v1";
const STALL_MS = 60_000;
const ANSWER_MS = 60_000;
const FINALIZE_MS = 300_000; // what arrived out of order is read again first

let account = "";
let pass = ""; // of a guest; it counts in place of cookies
let renewal = "/app/session/renew/";

/** Whose page this is. All tabs share one cookie: without it, what this page sends would be stored
 *  for whoever logs in in another one. A guest's page has a pass, and an address for the next. */
export function sendFor(sender) {
  account = sender.user;
  pass = sender.pass ?? "";
  renewal = sender.passUrl ?? renewal;
}

/** Prolongs the session while somebody uploads, and tells whether it is still this account's. */
export async function renewLogin(signal) {
  const renewed = await json("POST", renewal, { signal });
  pass = renewed?.pass ?? pass;
}

export function createSession(body) {
  return json("POST", `${API}/uploads/sessions`, { body });
}

/** What was begun and is not whole yet, newest first. */
export function unfinishedSessions() {
  return json("GET", `${API}/uploads/sessions?limit=50`);
}

export function getSession(id, signal) {
  return json("GET", `${API}/uploads/sessions/${id}`, { signal });
}

// The file; or the session, with the status "finalizing", while the portal reads it through first, and
// with `checking` once it checks it.
export function finalizeSession(id, signal) {
  return json("POST", `${API}/uploads/sessions/${id}/finalize`, { signal, patienceMs: FINALIZE_MS });
}

export function abortSession(id) {
  return json("DELETE", `${API}/uploads/sessions/${id}`);
}

/** Aborts an upload that another one replaces: its batch does not count it. */
export function replaceSession(id) {
  return json("DELETE", `${API}/uploads/sessions/${id}?replaced=true`);
}

export function getFile(id, signal) {
  return json("GET", `${API}/files/${id}`, { signal });
}

export function createBatch(body) {
  return json("POST", `${API}/batches`, { body });
}

export function getBatch(id, signal) {
  return json("GET", `${API}/batches/${id}`, { signal });
}

export function closeBatch(id, expectedFiles) {
  const query = expectedFiles === undefined ? "" : `?expected_files=${expectedFiles}`;
  return json("POST", `${API}/batches/${id}/close${query}`);
}

/** Sends one part. `digest` is the SHA-256 of `body`, or null where the browser has none. */
export function putPart({ sessionId, number, body, digest, onProgress, signal }) {
  return send("PUT", `${API}/uploads/sessions/${sessionId}/parts/${number}`, {
    body,
    type: "application/octet-stream",
    digest,
    onProgress,
    signal,
  });
}

/** The address that stores a whole file in one request. */
export function fileAddress(values) {
  const given = Object.entries(values).filter(([, value]) => value);
  return `${API}/files?${new URLSearchParams(given)}`;
}

export function postFile(address, { body, type, digest, onProgress, signal }) {
  return send("POST", address, { body, type, digest, onProgress, signal });
}

/** XMLHttpRequest, because fetch does not tell how far a body got. */
function send(method, address, { body, type, digest, onProgress, signal }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    let stall;
    const watch = () => {
      clearTimeout(stall);
      stall = setTimeout(() => request.abort(), STALL_MS);
    };
    const abort = () => request.abort();
    request.open(method, address);
    for (const [name, value] of Object.entries(headers(type))) {
      request.setRequestHeader(name, value);
    }
    if (digest) request.setRequestHeader("Content-Digest", `sha-256=:${base64(digest)}:`);
    request.upload.onprogress = (event) => {
      watch();
      onProgress(event.loaded, event.loaded === event.total);
    };
    request.onload = () => {
      if (request.status < 300) resolve(JSON.parse(request.responseText));
      else reject(problem(request.status, request.responseText, request.getResponseHeader("Retry-After")));
    };
    request.onerror = () => reject(noAnswer());
    request.onabort = () => reject(signal.aborted ? signal.reason : noAnswer());
    request.onloadend = () => {
      clearTimeout(stall);
      signal.removeEventListener("abort", abort);
    };
    signal.addEventListener("abort", abort, { once: true });
    watch();
    request.send(body);
  });
}

async function json(method, address, { body, signal, patienceMs = ANSWER_MS } = {}) {
  const late = AbortSignal.timeout(patienceMs);
  let response;
  let text;
  try {
    response = await fetch(address, {
      method,
      signal: signal ? AbortSignal.any([signal, late]) : late,
      headers: headers("application/json"),
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    text = await response.text();
  } catch (error) {
    if (signal?.aborted) throw signal.reason;
    if (late.aborted) throw noAnswerInTime();
    throw error instanceof TypeError ? noAnswer() : error;
  }
  if (!response.ok) throw problem(response.status, text, response.headers.get("Retry-After"));
  return text ? JSON.parse(text) : null;
}

function headers(type) {
  if (pass) return { "Content-Type": type, Authorization: `Bearer ${pass}` };
  return { "Content-Type": type, "X-CSRFToken": csrfToken(), "X-Page-Account": account };
}

/** The CSRF token, read anew each time: a log-in changes it, also in another tab. */
function csrfToken() {
  return document.cookie.match(/(?:^|; )csrftoken=([^;]+)/)?.[1] ?? "";
}

function base64(buffer) {
  return btoa(String.fromCharCode(...new Uint8Array(buffer)));
}
