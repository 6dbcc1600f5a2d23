// The files of this page: which are listed, which may run, which belong together.
import { Group } from "./group.js";
import { keptFor } from "./kept.js";
import { Slots } from "./slots.js";
import { State, Transfer } from "./transfer.js";

const FILES_AT_ONCE = 6; // some of them are read, or wait for an answer
const REQUESTS_AT_ONCE = 5; // with a body; browsers open six connections to a host

export class Queue {
  transfers = [];

  #shared;
  #onChange;

  /** `onChange` gets a transfer that is to be drawn anew. */
  constructor({ memory, access, pace, limits, onChange }) {
    this.#onChange = onChange;
    this.#shared = {
      slots: new Slots(REQUESTS_AT_ONCE),
      pace,
      memory,
      access,
      limits,
      onChange: (transfer) => this.#changed(transfer),
    };
  }

  /** Takes files up; gives {added, resumed}: transfers that are new, and failed ones of the same
   *  name that go on with what was chosen. What is under way already is left alone. `kept` are the
   *  unfinished sessions that the server has: what was begun in another browser goes on, too. */
  add(items, kept = []) {
    for (const item of items) this.#remind(item, kept);
    const listed = new Map(this.transfers.map((transfer) => [pathOf(transfer), transfer]));
    const resumed = [];
    const fresh = [];
    for (const item of items) {
      const before = listed.get(pathOf(item));
      listed.delete(pathOf(item)); // for one of several with this name
      if (before?.state === State.FAILED) resumed.push([before, item]);
      else if (!before || before.isOver || !isSame(before, item)) fresh.push(item);
    }
    const added = this.#grouped(fresh);
    this.transfers.push(...added);
    for (const [transfer, item] of resumed) transfer.replace(item);
    this.#fill();
    return { added, resumed: resumed.map(([transfer]) => transfer) };
  }

  resume(transfer) {
    transfer.queue();
    this.#fill();
  }

  restart(transfer) {
    transfer.restart();
    this.#fill();
  }

  replace(transfer, item) {
    transfer.replace(item);
    this.#fill();
  }

  remove(transfer) {
    this.transfers = this.transfers.filter((other) => other !== transfer);
  }

  #remind(item, kept) {
    const { memory } = this.#shared;
    if (memory.recall(item)) return;
    const session = keptFor(item, kept);
    if (!session) return;
    const { session_id: sessionId, batch_id: batchId } = session;
    memory.remember(item, { sessionId, batchId, isUnproven: true });
  }

  #grouped(items) {
    const { memory, access } = this.#shared;
    const inBatch = items.map((item) => memory.recall(item)).filter((entry) => entry?.batchId);
    const begun = inBatch.find(({ fileId }) => !fileId) ?? inBatch[0]; // an open one, if any
    const group = new Group({
      name: commonFolder(items),
      begunId: begun?.batchId,
      isBatch: items.length > 1,
      access,
    });
    const transfers = items.map((item) => new Transfer(item, { group, shared: this.#shared }));
    group.add(transfers);
    return transfers;
  }

  #changed(transfer) {
    this.#onChange(transfer);
    if (!transfer.isRunning) queueMicrotask(() => this.#fill());
  }

  #fill() {
    let free = FILES_AT_ONCE;
    for (const transfer of this.transfers) if (transfer.isRunning) free -= 1;
    for (const transfer of this.transfers) {
      if (free <= 0) return;
      if (transfer.state !== State.WAITING) continue;
      free -= 1;
      transfer.run();
    }
  }
}

function pathOf({ file, relativePath }) {
  return relativePath || file.name;
}

function isSame(one, other) {
  return one.file.size === other.file.size && one.file.lastModified === other.file.lastModified;
}

/** The folder that all files lie in, as the batch's name. */
function commonFolder(items) {
  const folders = new Set(items.map(({ relativePath }) => relativePath.split("/", 1)[0]));
  return folders.size === 1 ? [...folders][0] : "";
}
