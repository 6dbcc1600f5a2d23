// Files that were added together share one batch, created when the first of them needs it.
import { closeBatch, createBatch, getBatch } from "./api.js";
import { ApiError } from "./errors.js";
import { Persistence } from "./retry.js";

const CLOSED_TO_US = new Set(["batch_not_found", "scope_missing"]); // guests see no batch
const WITHOUT_BATCH = new Set(["batch_by_guest", "too_many_batches"]); // the files come all the same

export class Group {
  #name;
  #begunId;
  #isBatch;
  #members = [];
  #persistence;
  #signal = new AbortController().signal; // which nothing aborts
  #batch = null; // a promise of {id, isOwn}
  #isOver = false;

  /** `begunId`: the batch that some of the files joined before the page was left. The others join
   *  it too, if it is still open. */
  constructor({ name, begunId, isBatch, access }) {
    this.#name = name;
    this.#begunId = begunId ?? null;
    this.#isBatch = isBatch;
    this.#persistence = new Persistence({ access, tries: Infinity });
  }

  add(transfers) {
    this.#members.push(...transfers);
  }

  /** The batch to join; null for a single file, and for one that comes after the closing. */
  async batchId() {
    if (!this.#isBatch || this.#isOver) return null;
    this.#batch ??= this.#open();
    try {
      return (await this.#batch).id;
    } catch (error) {
      this.#batch = null; // the next call tries again
      if (!WITHOUT_BATCH.has(error.code)) throw error;
      this.#isBatch = false;
      return null;
    }
  }

  /** The batch turned out to take no more files. */
  leave(id) {
    if (id === this.#begunId) this.#begunId = null;
    else this.#isOver = true;
  }

  /** Closes the batch once nothing can join it any more. One that failed can: it is tried again,
   *  unless it would be refused for what it is. */
  async settle() {
    if (this.#isOver || !(this.#batch ?? this.#begunId)) return;
    if (!this.#members.every((transfer) => transfer.isSettled)) return;
    this.#isOver = true;
    try {
      await this.#close();
    } catch (error) {
      // The files are safe without it, and the server closes what is left open.
      if (!(error instanceof ApiError)) throw error;
    }
  }

  async #close() {
    const { id, isOwn } = (await this.#batch) ?? { id: this.#begunId, isOwn: false };
    await this.#persistence.run(async (signal) => {
      if (isOwn) return closeBatch(id, this.#members.filter(({ counts }) => counts).length);
      // Others of it may have been refused before the page was left, and be chosen again later.
      const { total_files: total, expected_files: expected } = await getBatch(id, signal);
      return total < (expected ?? 0) ? null : closeBatch(id);
    }, this.#signal);
  }

  async #open() {
    if (this.#begunId && (await this.#isOpen(this.#begunId))) {
      return { id: this.#begunId, isOwn: false };
    }
    const { id } = await createBatch({
      name: this.#name,
      expected_files: this.#members.filter(({ isRemembered }) => !isRemembered).length,
    });
    return { id, isOwn: true };
  }

  async #isOpen(id) {
    try {
      return !(await getBatch(id)).closed_at;
    } catch (error) {
      if (CLOSED_TO_US.has(error.code)) return false;
      throw error;
    }
  }
}
