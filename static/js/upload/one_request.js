// A small file's way to the server: one request that stores it.
import { fileAddress, postFile } from "./api.js";
import { Outcome, claim, unlessAborted } from "./route.js";
import { hex } from "./source.js";

/** The address with everything in it that has a length of its own. */
export function longestAddress({ file, relativePath }) {
  const [id, digest] = ["0".repeat(36), "0".repeat(64)];
  return addressOf({ file, relativePath }, { key: id, batchId: id }, digest);
}

function addressOf({ file, relativePath }, { key, batchId }, sha256) {
  return fileAddress({
    filename: file.name,
    relative_path: relativePath,
    batch_id: batchId,
    sha256,
    idempotency_key: key,
  });
}

export class OneRequest {
  canShrink = true; // by parts

  #job;
  #request = null; // under way: its promise
  #isOut = false; // all of its body: the server may have stored the file already
  #fate = Outcome.GIVEN_UP; // what would come of giving up now, with no request under way

  constructor(job) {
    this.#job = job;
  }

  get bodyBytes() {
    return this.#job.file.size;
  }

  /** The stored file, or its session while it is being checked. */
  send(signal) {
    const { persistence, slots } = this.#job;
    return claim(this.#job, {
      isWhole: true,
      signal,
      ask: (entry) => persistence.run((s) => slots.with(s, () => this.#post(entry, s)), signal),
    });
  }

  /** Does nothing: the file was not stored, so there is nothing to give up. */
  async replace() {}

  async giveUp() {
    if (this.#isOut) await this.#request?.catch(() => {});
    return this.#fate;
  }

  async #post(entry, signal) {
    const { file, source, meter } = this.#job;
    if (!this.#request) {
      const { body, digest } = await source.read(0, file.size);
      await source.requireUnchanged();
      signal.throwIfAborted();
      this.#request = this.#ask(entry, { body, digest, signal }).finally(() => {
        this.#request = null;
      });
    }
    const stored = await unlessAborted(this.#request, signal);
    this.#job.joined();
    meter.arrived(file.size);
    return stored;
  }

  /** Once the whole body is sent, nothing aborts the request: only the answer tells whether the file
   *  was stored. */
  async #ask(entry, { body, digest, signal }) {
    const { file, pace, ended } = this.#job;
    const control = new AbortController();
    const end = pace.begin(file.size);
    const stop = () => this.#isOut || control.abort(signal.reason);
    signal.addEventListener("abort", stop);
    this.#isOut = false;
    this.#job.begin(0);
    this.#progress(0, file.size === 0);
    try {
      const stored = await postFile(addressOf(this.#job, entry, digest && hex(digest)), {
        body,
        type: file.type,
        digest,
        signal: control.signal,
        onProgress: (bytes, isAll) => this.#progress(bytes, isAll),
      });
      this.#fate = Outcome.STORED;
      end({ hasArrived: true });
      return stored;
    } catch (error) {
      if (error.code) this.#fate = Outcome.GIVEN_UP;
      else if (this.#isOut) this.#fate = Outcome.UNKNOWN;
      throw error;
    } finally {
      end({ hasArrived: false });
      signal.removeEventListener("abort", stop);
      ended(file, { isWhole: this.#fate === Outcome.STORED });
    }
  }

  #progress(bytes, isAll) {
    const { file, progress, check } = this.#job;
    if (isAll && !this.#isOut) {
      this.#isOut = true;
      check();
    }
    progress(file, Math.min(bytes, file.size));
  }
}
