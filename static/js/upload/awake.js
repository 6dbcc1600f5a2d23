// Keeps the screen on while files are on their way: a phone that sleeps stops its uploads.

export class Awake {
  #lock = null;
  #isWanted = false;

  constructor() {
    // The browser releases the lock of a page that is hidden.
    document.addEventListener("visibilitychange", () => this.#ask());
  }

  while(isWanted) {
    if (isWanted === this.#isWanted) return;
    this.#isWanted = isWanted;
    if (isWanted) this.#ask();
    else this.#lock?.release();
  }

  async #ask() {
    if (!this.#isWanted || document.hidden || !navigator.wakeLock) return;
    try {
      this.#lock = await navigator.wakeLock.request("screen");
    } catch {
      return; // low on battery, say
    }
    if (!this.#isWanted) this.#lock.release();
  }
}
