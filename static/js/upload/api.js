// The session API as this page uses it. Every failure is an ApiError.

const BASE = "/api/v1";
const BUSY = new Set(["part_in_progress", "finalize_in_progress"]); // with another request
const TRANSIENT = new Set([0, 408, 425, 429, 500, 502, 503, 504]);
const STALL_MS = 60_000;
const ANSWER_MS = 60_000;
const FINALIZE_MS = 300_000; // what arrived out of order is read again first

/** `status` 0: no answer came. `retryAfter` in seconds. */
export class ApiError extends Error {
  constructor({ status, code = "", detail, retryAfter = 0 }) {
    super(detail);
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter;
  }

  /** The server may be at it still. */
  get isLate() {
    return this.code === "no_answer_in_time";
  }

  get isTransient() {
    return TRANSIENT.has(this.status) || this.isBusy;
  }

  get isBusy() {
    return BUSY.has(this.code);
  }

  get isLoggedOut() {
    return this.status === 401 || this.code === "csrf_failed";
  }
}

export function createSession(body) {
  return json("POST", "/uploads/sessions", { body });
}

export function getSession(id, signal) {
  return json("GET", `/uploads/sessions/${id}`, { signal });
}

export function finalizeSession(id, signal) {
  return json("POST", `/uploads/sessions/${id}/finalize`, { signal, patienceMs: FINALIZE_MS });
}

export function abortSession(id) {
  return json("DELETE", `/uploads/sessions/${id}`);
}

export function getFile(id, signal) {
  return json("GET", `/files/${id}`, { signal });
}

export function createBatch(name) {
  return json("POST", "/batches", { body: name ? { name } : {} });
}

export function getBatch(id) {
  return json("GET", `/batches/${id}`);
}

export function closeBatch(id) {
  return json("POST", `/batches/${id}/close`);
}

/** Sends one part. XMLHttpRequest, because fetch does not tell how far a body got. */
export function putPart({ sessionId, number, blob, onProgress, signal }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    let stall;
    const watch = () => {
      clearTimeout(stall);
      stall = setTimeout(() => request.abort(), STALL_MS);
    };
    const abort = () => request.abort();
    request.open("PUT", `${BASE}/uploads/sessions/${sessionId}/parts/${number}`);
    request.setRequestHeader("X-CSRFToken", csrfToken());
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.upload.onprogress = (event) => {
      watch();
      onProgress(event.loaded);
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
    request.send(blob);
  });
}

async function json(method, path, { body, signal, patienceMs = ANSWER_MS } = {}) {
  const late = AbortSignal.timeout(patienceMs);
  let response;
  let text;
  try {
    response = await fetch(BASE + path, {
      method,
      signal: signal ? AbortSignal.any([signal, late]) : late,
      headers: { "X-CSRFToken": csrfToken(), "Content-Type": "application/json" },
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

function problem(status, text, retryAfter) {
  let document = {};
  try {
    document = JSON.parse(text);
  } catch {
    // A proxy's own error page: the status has to do.
  }
  return new ApiError({
    status,
    code: document.code,
    detail: document.detail ?? `The server answered with status ${status}.`,
    retryAfter: Number(retryAfter) || 0,
  });
}

function noAnswer() {
  return new ApiError({ status: 0, detail: "The connection to the server was lost." });
}

function noAnswerInTime() {
  return new ApiError({
    status: 0,
    code: "no_answer_in_time",
    detail: "The server takes long to answer.",
  });
}

/** Read anew each time: logging in again, in another tab too, changes it. */
function csrfToken() {
  return document.cookie.match(/(?:^|; )csrftoken=([^;]+)/)?.[1] ?? "";
}
