// What this browser remembers about uploads, so that choosing the same file again goes on where it
// stopped, or finds it stored. Entries: {key, sessionId?, batchId, isWhole?, at} while unfinished,
// then {fileId, batchId, at}.
//
// Whether an entry still holds is for the server to say: the clock of this machine may be days
// ahead or behind. `at` (milliseconds) only orders the entries when there are too many.

const PREFIX = "doorito.upload.";
const MOST_UNFINISHED = 2000;
const MOST_STORED = 500;

export class Memory {
  #prefix;

  constructor(userId) {
    this.#prefix = `${PREFIX}${userId}.`;
    this.#forgetOldest();
  }

  recall(item) {
    try {
      return JSON.parse(localStorage.getItem(this.#name(item)));
    } catch {
      return null; // Storage is switched off, or somebody else wrote there: begin anew.
    }
  }

  remember(item, entry) {
    const text = JSON.stringify({ ...entry, at: Date.now() });
    try {
      localStorage.setItem(this.#name(item), text);
    } catch {
      // Full or switched off: the upload works, only a reload begins it anew.
    }
  }

  forget(item) {
    try {
      localStorage.removeItem(this.#name(item));
    } catch {
      // Nothing was remembered then.
    }
  }

  #name({ file, relativePath }) {
    return this.#prefix + JSON.stringify([file.name, file.size, file.lastModified, relativePath]);
  }

  #forgetOldest() {
    try {
      const entries = Object.keys(localStorage)
        .filter((name) => name.startsWith(PREFIX))
        .map((name) => ({ name, ...JSON.parse(localStorage.getItem(name)) }))
        .sort((one, other) => other.at - one.at);
      const stored = entries.filter(({ fileId }) => fileId).slice(MOST_STORED);
      const unfinished = entries.filter(({ fileId }) => !fileId).slice(MOST_UNFINISHED);
      for (const { name } of [...stored, ...unfinished]) localStorage.removeItem(name);
    } catch {
      // Storage is switched off, or holds what is not ours: nothing to tidy.
    }
  }
}

/** What is remembered of one file, for a browser that remembers nothing too. */
export class Ticket {
  #memory;
  #item;
  #entry = null;

  constructor(memory, item) {
    this.#memory = memory;
    this.#item = item;
  }

  get entry() {
    return (this.#entry ??= this.#memory.recall(this.#item));
  }

  keep(entry) {
    this.#entry = entry;
    this.#memory.remember(this.#item, entry);
  }

  forget() {
    this.#entry = null;
    this.#memory.forget(this.#item);
  }
}

/** An idempotency key: asked with it again, the server finds what it made before. */
export function newKey() {
  if (crypto.randomUUID) return crypto.randomUUID();
  // Plain http from another machine.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
