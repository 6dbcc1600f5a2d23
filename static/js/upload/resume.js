// What this browser remembers about unfinished uploads, so that choosing the same file again goes
// on where it stopped. Entries: {key, sessionId, batchId, at}.

const PREFIX = "doorito.upload.";
const KEEP_MS = 14 * 24 * 3600 * 1000;

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
      for (const name of Object.keys(localStorage).filter((key) => key.startsWith(PREFIX))) {
        const entry = JSON.parse(localStorage.getItem(name));
        if (!(Date.now() - entry?.at < KEEP_MS)) localStorage.removeItem(name);
      }
    } catch {
      // Storage is switched off, or holds what is not ours: nothing to tidy.
    }
  }
}
