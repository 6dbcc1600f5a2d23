// What this browser remembers about uploads, so that choosing the same file again goes on where it
// stopped, or finds it stored. Entries: {key, sessionId, batchId, at} while unfinished, then
// {fileId, batchId, at, until}: the server keeps the file that long. Times in milliseconds.

const PREFIX = "doorito.upload.";
const KEEP_MS = 14 * 24 * 3600 * 1000; // unfinished ones
const STORED_KEPT = 500; // the newest

export class Memory {
  #prefix;

  constructor(userId) {
    this.#prefix = `${PREFIX}${userId}.`;
    this.#forgetOld();
  }

  recall(item) {
    try {
      return JSON.parse(localStorage.getItem(this.#name(item)));
    } catch {
      return null; // Storage is switched off, or somebody else wrote there: begin anew.
    }
  }

  remember(item, entry) {
    try {
      localStorage.setItem(this.#name(item), JSON.stringify({ ...entry, at: Date.now() }));
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

  #forgetOld() {
    try {
      const entries = Object.keys(localStorage)
        .filter((name) => name.startsWith(PREFIX))
        .map((name) => ({ name, ...JSON.parse(localStorage.getItem(name)) }));
      const old = entries.filter(({ at, until }) => !(Date.now() < (until ?? at + KEEP_MS)));
      const stored = entries.filter(({ until }) => until).sort((a, b) => b.at - a.at);
      for (const { name } of [...old, ...stored.slice(STORED_KEPT)]) localStorage.removeItem(name);
    } catch {
      // Storage is switched off, or holds what is not ours: nothing to tidy.
    }
  }
}
