// What can go wrong on a file's way, and what that means for it.

const BUSY = new Set(["part_in_progress", "finalize_in_progress", "upload_in_progress"]); // with another request
const TRANSIENT = new Set([0, 408, 425, 429, 500, 502, 503, 504]);
const COME_LATER = new Set([429, 502, 503, 504]);
const LOGGED_OUT = new Set(["not_authenticated", "csrf_failed", "visit_over"]);
const FINAL = new Set([400, 413, 415]); // of a file that would be refused again

/** An error answer of the API. `status` 0: no answer came.
 *  `retryAfter` in seconds. Without a `code` something in front of the portal gave the answer. */
export class ApiError extends Error {
  constructor({ status, code = "", detail, retryAfter = 0 }) {
    super(detail);
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter;
  }

  /** The server may still be working on the request. */
  get isLate() {
    return this.code === "no_answer_in_time";
  }

  /** The server or a proxy is unavailable for now: not the fault of this request. */
  get isOutage() {
    return COME_LATER.has(this.status);
  }

  get isBusy() {
    return BUSY.has(this.code);
  }

  /** Trying the same once more may help. A part whose digest differs was damaged on its way. */
  get isTransient() {
    return TRANSIENT.has(this.status) || this.isBusy || this.code === "digest_mismatch";
  }

  /** Nobody is logged in, or another account than this page's. */
  get isNotOurs() {
    return this.isLoggedOut || this.code === "account_changed";
  }

  get isLoggedOut() {
    return LOGGED_OUT.has(this.code);
  }

  /** A proxy lets no body of this size through. */
  get isTooLargeForProxy() {
    return this.status === 413 && !this.code;
  }

  /** The batch takes no more files. */
  get isOfBatch() {
    return this.code === "batch_closed" || this.code === "batch_not_found";
  }

  /** The same file would be refused again. */
  get isFinal() {
    return FINAL.has(this.status) && Boolean(this.code);
  }
}

/** The bytes on the disk are no longer those that were chosen. */
export class FileChanged extends Error {
  constructor() {
    super("The file was changed, moved or removed meanwhile. Choose it again.");
  }
}

/** Chosen to go on with an upload that was begun with other bytes. */
export class OtherFile extends Error {
  code = "other_file";

  constructor() {
    super("This is another file than the one whose upload was begun. What was kept stays as it is.");
  }
}

/** Why a running transfer was stopped; never shown. */
export class Stopped extends Error {}

export function noAnswer() {
  return new ApiError({ status: 0, detail: "The connection to the server was lost." });
}

export function noAnswerInTime() {
  return new ApiError({
    status: 0,
    code: "no_answer_in_time",
    detail: "The server takes long to answer.",
  });
}

/** The error that an answer stands for; `text` is a problem document (RFC 9457) if ours. */
export function problem(status, text, retryAfter) {
  const { code, detail } = parsed(text);
  return new ApiError({
    status,
    code,
    detail: code ? detail : foreign(status),
    retryAfter: Number(retryAfter) || 0,
  });
}

function parsed(text) {
  try {
    return JSON.parse(text) ?? {};
  } catch {
    return {}; // a proxy's own page
  }
}

function foreign(status) {
  if (status === 413) {
    return (
      "A proxy in front of the portal refuses even the smallest parts as too large. " +
      "Its limit for request bodies must be raised (nginx: client_max_body_size)."
    );
  }
  return `Something in front of the portal answered with status ${status}.`;
}
