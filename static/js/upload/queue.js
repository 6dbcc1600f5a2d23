// Several files: which may run, how many parts are under way, which belong together.
import { ApiError, closeBatch, createBatch, getBatch } from "./api.js";
import { State, Transfer } from "./transfer.js";

const FILES_AT_ONCE = 4;
const PARTS_AT_ONCE = 4; // browsers open six connections to a host; the page itself needs some

/** A counted lock: at most so many actions at a time, first come, first served. */
class Slots {
  #free;
  #waiting = [];

  constructor(count) {
    this.#free = count;
  }

  async with(signal, action) {
    await this.#take(signal);
    try {
      return await action();
    } finally {
      this.#give();
    }
  }

  #take(signal) {
    signal.throwIfAborted();
    if (this.#free > 0) {
      this.#free -= 1;
      return undefined;
    }
    return new Promise((resolve, reject) => {
      const stop = () => {
        this.#waiting = this.#waiting.filter((entry) => entry !== go);
        reject(signal.reason);
      };
      const go = () => {
        signal.removeEventListener("abort", stop);
        resolve();
      };
      signal.addEventListener("abort", stop, { once: true });
      this.#waiting.push(go);
    });
  }

  #give() {
    const next = this.#waiting.shift();
    if (next) next();
    else this.#free += 1;
  }
}

/** Files that were added together: one batch, made when the first of several needs it.
 *
 *  `begun` is the batch that some of them joined before the page was left: the others join it too,
 *  if it is still open, and it is closed in the end. */
class Group {
  #name;
  #begun;
  #isBatch;
  #batch = null;
  #isClosed = false;

  constructor({ name, begun, isBatch }) {
    this.#name = name;
    this.#begun = begun;
    this.#isBatch = isBatch;
  }

  /** The batch to join; null for a single file, and for one that comes after the closing. */
  async batchId() {
    if (!this.#isBatch || this.#isClosed) return null;
    this.#batch ??= this.#openBatch();
    try {
      return await this.#batch;
    } catch (error) {
      this.#batch = null; // the next asker tries again
      throw error;
    }
  }

  /** When every file has joined, no more will: the batch completes with its last file. */
  async closeAfter(transfers) {
    await Promise.all(transfers.map((transfer) => transfer.opened));
    this.#isClosed = true;
    try {
      const id = (await this.#batch) ?? this.#begun;
      if (id) await closeBatch(id);
    } catch (error) {
      // The files are safe without it; the batch merely stays open.
      if (!(error instanceof ApiError)) throw error;
    }
  }

  async #openBatch() {
    if (this.#begun) {
      const begun = await this.#stillOpen(this.#begun);
      if (begun) return begun;
    }
    return (await createBatch(this.#name)).id;
  }

  async #stillOpen(id) {
    try {
      return (await getBatch(id)).closed_at ? null : id;
    } catch (error) {
      if (error.status === 404) return null;
      throw error;
    }
  }
}

export class Queue {
  transfers = [];

  #slots = new Slots(PARTS_AT_ONCE);
  #memory;
  #onChange;
  #onAnswer;

  /** `onChange` gets a transfer that is to be drawn anew; `onAnswer` hears of every success. */
  constructor({ memory, onChange, onAnswer }) {
    this.#memory = memory;
    this.#onChange = onChange;
    this.#onAnswer = onAnswer;
  }

  add(items) {
    const fresh = items.filter((item) => !this.#isListed(item));
    const inBatch = fresh.map((item) => this.#memory.recall(item)).filter((it) => it?.batchId);
    const begun = inBatch.find(({ fileId }) => !fileId) ?? inBatch[0]; // an open one, if any
    const group = new Group({
      name: commonFolder(fresh),
      begun: begun?.batchId,
      isBatch: fresh.length > 1,
    });
    const added = fresh.map(
      (item) =>
        new Transfer({
          ...item,
          group,
          slots: this.#slots,
          memory: this.#memory,
          onChange: (transfer) => this.#changed(transfer),
          onAnswer: this.#onAnswer,
        }),
    );
    this.transfers.push(...added);
    group.closeAfter(added);
    this.#fill();
    return added;
  }

  resume(transfer) {
    transfer.queue();
    this.#fill();
  }

  restart(transfer) {
    transfer.restart();
    this.#fill();
  }

  remove(transfer) {
    this.transfers = this.transfers.filter((other) => other !== transfer);
  }

  #changed(transfer) {
    this.#onChange(transfer);
    if (!transfer.isRunning) queueMicrotask(() => this.#fill());
  }

  #fill() {
    let free = FILES_AT_ONCE - this.transfers.filter((transfer) => transfer.isRunning).length;
    for (const transfer of this.transfers) {
      if (free <= 0) return;
      if (transfer.state !== State.WAITING) continue;
      free -= 1;
      transfer.run();
    }
  }

  /** The same file twice, while the first is not over, would only compete with itself. */
  #isListed({ file, relativePath }) {
    return this.transfers.some(
      (other) =>
        !other.isOver &&
        other.relativePath === relativePath &&
        other.file.name === file.name &&
        other.file.size === file.size &&
        other.file.lastModified === file.lastModified,
    );
  }
}

/** The folder that all files lie in, as the batch's name. */
function commonFolder(items) {
  const folders = new Set(items.map(({ relativePath }) => relativePath.split("/", 1)[0]));
  return folders.size === 1 ? [...folders][0] : "";
}
