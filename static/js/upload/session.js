// Uploads a large file: creates a session, sends parts (several at once, in order), finalizes.
import {
  abortSession,
  createSession,
  finalizeSession,
  getSession,
  putPart,
  replaceSession,
} from "./api.js";
import { sleep } from "./backoff.js";
import { OtherFile } from "./errors.js";
import { missingParts, parseRanges } from "./ranges.js";
import { Outcome, claim, unlessAborted } from "./route.js";

const READING_MS = 2_000; // between questions

export class InParts {
  canShrink = true;

  #job;
  #session = null;
  #creation = null; // the request for a session, while it is under way

  constructor(job) {
    this.#job = job;
  }

  get bodyBytes() {
    return Math.min(this.#session.chunk_size_bytes, this.#job.file.size);
  }

  /** The stored file, or the session while that is being checked. */
  async send(signal) {
    const { source } = this.#job;
    this.#session = (await this.#recalled(signal)) ?? (await this.#created(signal));
    const { session_id: id, status, received_bytes: bytes } = this.#session;
    if (status === "complete") return this.#finalized(id, signal); // a repeat gives the file
    this.#job.begin(bytes);
    await this.#prove(signal);
    await this.#sendParts(signal).catch(unlessComplete);
    this.#job.check();
    await source.requireUnchanged();
    return this.#finalized(id, signal);
  }

  /** The stored file, or the session while it is being checked, once the portal has read through what
   *  did not come in the file's order. */
  async #finalized(id, signal) {
    for (;;) {
      const reply = await this.#job.persistence.run((s) => finalizeSession(id, s), signal);
      if (reply.status !== "finalizing" || reply.checking) return reply;
      await sleep(READING_MS, signal);
    }
  }

  /** Gives up this session because another one replaces it. */
  async replace() {
    if (this.#session) await this.#giveUp(replaceSession, this.#job.ticket.entry);
  }

  giveUp(entry) {
    return this.#giveUp(abortSession, entry);
  }

  /** A session that was asked for may be made though its answer is still out: it is waited for. */
  async #giveUp(how, entry) {
    const { signal } = new AbortController(); // which nothing aborts
    const { persistence } = this.#job;
    const made = this.#session?.session_id ?? entry?.sessionId;
    if (!made && !entry?.key) return Outcome.GIVEN_UP;
    try {
      const id = made ?? (await persistence.run(() => this.#create(entry), signal)).session_id;
      await persistence.run(() => how(id), signal);
    } catch (error) {
      if (error.code === "session_complete") return Outcome.STORED;
      // The server gives idle sessions up by itself; only a program's mistake is worth a line.
      if (error.status === undefined) throw error;
    }
    return Outcome.GIVEN_UP;
  }

  async #recalled(signal) {
    const { ticket, persistence } = this.#job;
    const id = ticket.entry?.sessionId;
    if (!id) return null;
    const session = await persistence.run((s) => getSession(id, s), signal);
    if (!["failed", "aborted"].includes(session.status)) return session;
    ticket.forget();
    return null;
  }

  async #created(signal) {
    const { ticket, persistence } = this.#job;
    let asked = null;
    const ask = async (entry) => {
      asked = entry.part ?? null;
      const session = await persistence.run((s) => unlessAborted(this.#create(entry), s), signal);
      ticket.keep({ ...entry, sessionId: session.session_id });
      return session;
    };
    const session = await claim(this.#job, { isWhole: false, signal, ask });
    this.#job.joined();
    // A very large file needs larger parts than were asked for.
    this.canShrink = asked === null || session.chunk_size_bytes <= asked;
    return session;
  }

  /** Not aborted by a pause or a cancel: only the answer tells what the server created. */
  #create({ key, batchId, part }) {
    const { file, relativePath } = this.#job;
    this.#creation ??= createSession({
      filename: file.name,
      relative_path: relativePath || undefined,
      size_bytes: file.size,
      content_type: file.type || undefined,
      batch_id: batchId ?? undefined,
      idempotency_key: key,
      chunk_size_bytes: part ?? undefined,
    }).finally(() => (this.#creation = null));
    return this.#creation;
  }

  /** What this browser does not remember to have begun may be another file of the same name and
   *  size: the first and the last part that the server has are sent again, and it compares them. */
  async #prove(signal) {
    const { ticket, meter } = this.#job;
    if (!ticket.entry?.isUnproven) return;
    const received = [...parseRanges(this.#session.received_parts)];
    const probes = new Set([received[0], received.at(-1)].filter(Boolean));
    try {
      for (const number of probes) await this.#sendPart(number, signal);
    } catch (error) {
      throw error.code === "part_differs" ? new OtherFile() : error;
    }
    meter.begin(this.#session.received_bytes); // what was sent again is no gain
    ticket.keep({ ...ticket.entry, isUnproven: undefined });
  }

  /** As many at once as the speed of the last ones allows; a pause begins no further one. */
  #sendParts(signal) {
    const { total_parts: total, received_parts: received, chunk_size_bytes: chunk } = this.#session;
    const missing = missingParts(total, parseRanges(received));
    const { slots, pace, isPausing } = this.#job;
    const { promise, resolve, reject } = Promise.withResolvers();
    let underWay = 0; // those that wait for a slot too
    let left = missing.length;
    const stop = () => reject(signal.reason);
    // First a slot, then the number: parts leave in order, which the server hashes fastest.
    const next = async () => {
      if (isPausing()) left += 1;
      else await this.#sendPart(missing.shift(), signal);
    };
    const fill = () => {
      if (left === 0 && underWay === 0) resolve();
      while (left > 0 && underWay < pace.atOnce(chunk) && !isPausing()) {
        left -= 1;
        underWay += 1;
        slots.with(signal, next).then(ended, reject);
      }
    };
    const ended = () => {
      underWay -= 1;
      fill();
    };
    signal.addEventListener("abort", stop, { once: true });
    fill();
    return promise.finally(() => signal.removeEventListener("abort", stop));
  }

  async #sendPart(number, signal) {
    const { session_id: sessionId, chunk_size_bytes: chunk } = this.#session;
    const { file, source, meter, pace, persistence, progress, ended } = this.#job;
    const start = (number - 1) * chunk;
    const size = Math.min(chunk, file.size - start);
    await persistence.run(async (s) => {
      progress(number, 0);
      let end = () => {};
      try {
        const { body, digest } = await source.read(start, start + size);
        s.throwIfAborted();
        end = pace.begin(size);
        const onProgress = (bytes) => progress(number, Math.min(bytes, size));
        await putPart({ sessionId, number, body, digest, onProgress, signal: s });
        end({ hasArrived: true });
        meter.arrived(size);
      } catch (error) {
        if (error.isTransient) await source.requireReadable();
        throw error;
      } finally {
        end({ hasArrived: false });
        ended(number);
      }
    }, signal);
  }
}

/** Another tab may have sent the same file's parts: finalizing then gives what it stored. */
function unlessComplete(error) {
  if (error.code !== "session_complete") throw error;
}
