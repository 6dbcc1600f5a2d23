// One file's way to the server: session, parts (several at once, in order), finalize.
import {
  ApiError,
  abortSession,
  createSession,
  finalizeSession,
  getFile,
  getSession,
  putPart,
} from "./api.js";
import { delay, online, sleep } from "./backoff.js";
import { missingParts, parseRanges } from "./ranges.js";

const PARTS_AT_ONCE = 3; // of the page's four: a small file does not wait behind a large one
const STALLED_MS = 8000;
const TRIES = 10; // in a row without success; waiting for the network does not count

export const State = {
  WAITING: "waiting",
  PREPARING: "preparing",
  UPLOADING: "uploading",
  PAUSED: "paused",
  CHECKING: "checking",
  STORED: "stored",
  FAILED: "failed",
  CANCELLED: "cancelled",
};

const RUNNING = new Set([State.PREPARING, State.UPLOADING, State.CHECKING]);
const OVER = new Set([State.STORED, State.FAILED, State.CANCELLED]);

/** Why a running transfer was stopped; never shown. */
class Stopped extends Error {}

export class Transfer {
  state = State.WAITING;
  note = ""; // what it is waiting for, while it is trying again
  error = null;
  stored = null; // the API's file, once stored
  wasStored = false; // before it was chosen

  #slots;
  #memory;
  #onChange;
  #onAnswer;
  #control = new AbortController();
  #entry = null; // what the memory holds of it, for a browser that remembers nothing
  #session = null;
  #creation = null; // the request for a session, while it is under way
  #inFlight = new Map(); // part number → bytes sent
  #doneBytes = 0;
  #movedBytes = 0; // of whole parts that this page sent
  #progressAt = 0;
  #failures = 0;
  #opened = Promise.withResolvers();

  /** `slots` bounds the parts under way on the whole page. `group` may lend the file a batch. */
  constructor({ file, relativePath, group, slots, memory, onChange, onAnswer }) {
    this.file = file;
    this.relativePath = relativePath;
    this.group = group;
    this.#slots = slots;
    this.#memory = memory;
    this.#onChange = onChange;
    this.#onAnswer = onAnswer;
  }

  /** What the server has or is getting. */
  get sentBytes() {
    return Math.min(this.#doneBytes + this.#bytesInFlight, this.file.size);
  }

  /** What went over the network from this page; what the server had before does not count. */
  get movedBytes() {
    return this.#movedBytes + this.#bytesInFlight;
  }

  /** Whether parts are under way and none of them moves. */
  get isStalled() {
    return this.#inFlight.size > 0 && performance.now() - this.#progressAt > STALLED_MS;
  }

  get #bytesInFlight() {
    return [...this.#inFlight.values()].reduce((sum, bytes) => sum + bytes, 0);
  }

  get isRunning() {
    return RUNNING.has(this.state);
  }

  get isOver() {
    return OVER.has(this.state);
  }

  /** Settles when the file has joined its batch or never will. */
  get opened() {
    return this.#opened.promise;
  }

  /** From waiting to the end, or to a pause. Never rejects. */
  async run() {
    const { signal } = (this.#control = new AbortController());
    this.#failures = 0;
    try {
      this.#become(State.PREPARING);
      await this.#open(signal);
      this.#opened.resolve();
      if (!this.stored) {
        this.#become(State.UPLOADING);
        await this.#sendParts(signal).catch(unlessComplete);
        this.#become(State.CHECKING);
        const { session_id: id } = this.#session;
        this.stored = await this.#persist((s) => finalizeSession(id, s), signal);
      }
      this.#rememberStored();
      this.#become(State.STORED);
    } catch (error) {
      if (!(error instanceof Stopped)) this.#fail(error);
    }
  }

  pause() {
    if (this.isOver) return;
    this.#become(State.PAUSED);
    this.#stop();
  }

  /** Back into the queue, after a pause or a failure. */
  queue() {
    this.error = null;
    this.#become(State.WAITING);
  }

  /** Of a file that was stored before: sends it once more, as another one. */
  restart() {
    this.#forgetSession();
    this.stored = null;
    this.wasStored = false;
    this.queue();
  }

  /** Resolves to whether that came too late: the server has stored the file. */
  async cancel() {
    if (this.state === State.STORED) return true;
    const begun = this.#entry ?? this.#memory.recall(this);
    this.#become(State.CANCELLED);
    this.#stop();
    this.#forget();
    this.#opened.resolve();
    try {
      await this.#giveUp(begun);
      return false;
    } catch (error) {
      if (error.code === "session_complete") return true;
      // The server gives idle sessions up by itself; only a program's mistake is worth a line.
      if (!(error instanceof ApiError)) throw error;
      return false;
    }
  }

  /** A session that was asked for may be made though its answer is still out: it is waited for. */
  async #giveUp(begun) {
    const { signal } = new AbortController(); // which nothing aborts
    const made = this.#session?.session_id ?? begun?.sessionId;
    if (!made && !begun?.key) return;
    const id = made ?? (await this.#persist(() => this.#create(begun), signal)).session_id;
    await this.#persist(() => abortSession(id), signal);
  }

  #stop() {
    this.#inFlight.clear();
    this.#control.abort(new Stopped());
  }

  #become(state) {
    this.state = state;
    this.note = "";
    this.#onChange(this);
  }

  #fail(error) {
    this.#stop();
    // What the server gave up cannot go on; the next try begins a new session.
    if ([404, 409, 410, 415, 422].includes(error.status)) this.#forgetSession();
    this.error = error;
    this.#opened.resolve();
    this.#become(State.FAILED);
  }

  #remember(entry) {
    this.#entry = entry;
    this.#memory.remember(this, entry);
  }

  #rememberStored() {
    const { id: fileId, batch_id: batchId, expires_at: end } = this.stored;
    this.#remember({ fileId, batchId, until: Date.parse(end) });
  }

  #forget() {
    this.#entry = null;
    this.#memory.forget(this);
  }

  #forgetSession() {
    this.#forget();
    this.#session = null;
    this.#doneBytes = 0;
  }

  /** Finds the session of before, or makes one; takes over what the server has of it. */
  async #open(signal) {
    const remembered = this.#entry ?? this.#memory.recall(this);
    if (remembered?.fileId) this.stored = await this.#recalledFile(remembered, signal);
    this.wasStored = this.stored !== null;
    if (this.wasStored) return;
    this.#session = remembered ? await this.#recalled(remembered, signal) : null;
    this.#session ??= await this.#created(remembered, signal);
    if (this.#session.status === "complete") {
      this.stored = await this.#persist((s) => getFile(this.#session.file_id, s), signal);
    }
    this.#doneBytes = this.#session.received_bytes;
  }

  /** The file if the server still keeps it; forgotten else. */
  async #recalledFile({ fileId }, signal) {
    try {
      const file = await this.#persist((s) => getFile(fileId, s), signal);
      if (file.status === "stored") return file;
    } catch (error) {
      if (error.status !== 404) throw error;
    }
    this.#forget();
    return null;
  }

  async #recalled({ sessionId }, signal) {
    if (!sessionId) return null;
    try {
      const session = await this.#persist((s) => getSession(sessionId, s), signal);
      if (!["failed", "aborted"].includes(session.status)) return session;
    } catch (error) {
      if (error.status !== 404) throw error;
    }
    this.#forget();
    return null;
  }

  /** The key is remembered before the request: if the answer is lost, asking again finds the
   *  session that it made. */
  async #created(remembered, signal) {
    const unanswered = remembered?.key && !remembered.sessionId;
    const entry = unanswered
      ? remembered
      : { key: crypto.randomUUID?.() ?? randomKey(), batchId: await this.#batchId(signal) };
    this.#remember(entry);
    const session = await this.#persist((s) => unlessAborted(this.#create(entry), s), signal);
    this.#remember({ ...entry, sessionId: session.session_id });
    return session;
  }

  /** Not broken off by a pause or a cancel: only its answer tells what the server made of it. */
  #create({ key, batchId }) {
    this.#creation ??= createSession({
      filename: this.file.name,
      relative_path: this.relativePath || undefined,
      size_bytes: this.file.size,
      content_type: this.file.type || undefined,
      batch_id: batchId ?? undefined,
      idempotency_key: key,
    }).finally(() => (this.#creation = null));
    return this.#creation;
  }

  #batchId(signal) {
    return this.#persist(() => this.group.batchId(), signal);
  }

  async #sendParts(signal) {
    const { total_parts: total, received_parts: received } = this.#session;
    const missing = missingParts(total, parseRanges(received));
    const worker = async () => {
      while (missing.length > 0) {
        // First a slot, then the number: parts leave in order, which the server hashes fastest.
        await this.#slots.with(signal, async () => {
          const number = missing.shift();
          if (number !== undefined) await this.#sendPart(number, signal);
        });
      }
    };
    await Promise.all(Array.from({ length: Math.min(PARTS_AT_ONCE, missing.length) }, worker));
  }

  async #sendPart(number, signal) {
    const { session_id: sessionId, chunk_size_bytes: chunk } = this.#session;
    const start = (number - 1) * chunk;
    const blob = this.file.slice(start, Math.min(start + chunk, this.file.size));
    await this.#persist(async (s) => {
      this.#progress(number, 0);
      try {
        await putPart({
          sessionId,
          number,
          blob,
          signal: s,
          onProgress: (bytes) => this.#progress(number, Math.min(bytes, blob.size)),
        });
        this.#doneBytes += blob.size;
        this.#movedBytes += blob.size;
      } catch (error) {
        if (error.isTransient) await this.#requireReadable();
        throw error;
      } finally {
        this.#inFlight.delete(number);
      }
    }, signal);
    this.#onChange(this);
  }

  #progress(number, bytes) {
    this.#inFlight.set(number, bytes);
    this.#progressAt = performance.now();
    if (bytes > 0) this.note = ""; // it moves again
    this.#onChange(this);
  }

  /** Repeats what failed for a passing reason; the tries count anew after every success. */
  async #persist(action, signal) {
    for (;;) {
      signal.throwIfAborted();
      try {
        const result = await action(signal);
        this.#failures = 0;
        this.#onAnswer();
        if (this.note) this.#say("");
        return result;
      } catch (error) {
        signal.throwIfAborted();
        if (!error.isTransient) throw error;
        await this.#wait(error, signal);
      }
    }
  }

  async #wait(error, signal) {
    if (!navigator.onLine) {
      this.#say("You are offline. The upload goes on when the connection is back.");
      await online(signal);
      this.#say("");
      return;
    }
    // Who is late is at it still, and asking again is harmless: that may go on.
    if (!error.isLate) this.#failures += 1;
    if (this.#failures > TRIES) throw error;
    const pause = delay(this.#failures, { retryAfterSeconds: error.retryAfter });
    if (!error.isBusy) this.#say(`${error.message} Trying again.`);
    await sleep(pause, signal);
  }

  #say(note) {
    this.note = note;
    this.#onChange(this);
  }

  /** A file that changed or moved looks like a broken connection; reading a byte tells. */
  async #requireReadable() {
    try {
      await this.file.slice(0, 1).arrayBuffer();
    } catch {
      throw new Error("The file was changed, moved or removed meanwhile. Choose it again.");
    }
  }
}

/** Another tab may have sent the same file's parts: finalizing then gives what it stored. */
function unlessComplete(error) {
  if (error.code !== "session_complete") throw error;
}

/** As `promise`, but rejects with the signal's reason as soon as it is aborted. */
function unlessAborted(promise, signal) {
  const aborted = Promise.withResolvers();
  const stop = () => aborted.reject(signal.reason);
  signal.addEventListener("abort", stop, { once: true });
  return Promise.race([promise, aborted.promise]).finally(() =>
    signal.removeEventListener("abort", stop),
  );
}

/** For plain http from another machine, where randomUUID is missing. */
function randomKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
