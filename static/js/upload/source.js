// Reads the file so that what is sent is what was digested, never a mixture of two versions.
import { FileChanged } from "./errors.js";

const LARGEST_DIGESTED = 64 * 2 ** 20; // bytes of a part that are held in memory at once
const READ_AGAIN_MAX = 256 * 2 ** 20; // bytes; of larger files some parts are
const SAMPLES = 32;
const FRESH_MS = 2000;

export class Source {
  #file;
  #entry;
  #isFresh;
  #digests = new Map(); // "start-end" → SHA-256 of what was read there

  /** `entry`: the FileSystemEntry of a dropped file, which tells what the file is like now. */
  constructor(file, { entry = null, now = Date.now() } = {}) {
    this.#file = file;
    this.#entry = entry;
    // Browsers notice a change by the second of the file's time. One that was written just before
    // it was chosen may be written again within that second.
    this.#isFresh = file.lastModified > now - FRESH_MS;
  }

  /** A slice as {body, digest}; without a digest where the browser gives none, as over plain http
   *  from another machine, or where the slice is too large for the memory. */
  async read(start, end) {
    const slice = this.#file.slice(start, end);
    if (!globalThis.crypto?.subtle || slice.size > LARGEST_DIGESTED) {
      return { body: slice, digest: null };
    }
    const body = await bytesOf(slice);
    if (body.byteLength !== end - start) throw new FileChanged();
    const digest = await crypto.subtle.digest("SHA-256", body);
    this.#digests.set(`${start}-${end}`, digest);
    return { body, digest };
  }

  /** A file that changed or moved looks like a broken connection; reading a byte tells, since the
   *  browser compares the file's time with what it was. */
  async requireReadable() {
    await bytesOf(this.#file.slice(0, 1));
  }

  /** To be called when all is read, before it is kept. Raises FileChanged. */
  async requireUnchanged() {
    await this.#requireSameEntry();
    const ranges = this.#rangesToReadAgain();
    if (ranges.length === 0) await this.requireReadable();
    for (const [range, digest] of ranges) {
      const [start, end] = range.split("-").map(Number);
      const again = await crypto.subtle.digest("SHA-256", await bytesOf(this.#file.slice(start, end)));
      if (!isEqual(digest, again)) throw new FileChanged();
    }
  }

  async #requireSameEntry() {
    if (!this.#entry) return;
    let now;
    try {
      now = await new Promise((resolve, reject) => this.#entry.file(resolve, reject));
    } catch {
      throw new FileChanged();
    }
    const isSame = now.size === this.#file.size && now.lastModified === this.#file.lastModified;
    if (!isSame) throw new FileChanged();
  }

  #rangesToReadAgain() {
    const ranges = [...this.#digests];
    if (this.#isFresh || this.#file.size <= READ_AGAIN_MAX) return ranges;
    const step = Math.max(1, (ranges.length - 1) / (SAMPLES - 1));
    const chosen = Array.from({ length: SAMPLES }, (_, index) => ranges[Math.round(index * step)]);
    return chosen.filter(Boolean);
  }
}

/** A file that changed or moved cannot be read any more. */
async function bytesOf(slice) {
  try {
    return await slice.arrayBuffer();
  } catch {
    throw new FileChanged();
  }
}

function isEqual(one, other) {
  const [left, right] = [new Uint8Array(one), new Uint8Array(other)];
  return left.every((byte, index) => byte === right[index]);
}

export function hex(buffer) {
  return Array.from(new Uint8Array(buffer), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
