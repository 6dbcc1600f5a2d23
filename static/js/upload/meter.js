// How far one file is, and whether it moves.

const STALLED_MS = 8000;

export class Meter {
  #inFlight = new Map(); // request → bytes sent
  #done = 0;
  #moved = 0; // by requests of this page that have ended well
  #progressAt = 0;

  /** Takes over what the server has already. */
  begin(doneBytes) {
    this.#inFlight.clear();
    this.#done = doneBytes;
  }

  progress(request, bytes) {
    this.#inFlight.set(request, bytes);
    this.#progressAt = performance.now();
  }

  arrived(bytes) {
    this.#done += bytes;
    this.#moved += bytes;
  }

  ended(request) {
    this.#inFlight.delete(request);
  }

  stop() {
    this.#inFlight.clear();
  }

  /** Whether requests are under way. */
  get isBusy() {
    return this.#inFlight.size > 0;
  }

  /** What the server has or is getting. */
  get sent() {
    return this.#done + this.#bytesInFlight;
  }

  /** What went over the network from this page; what the server had before does not count. */
  get moved() {
    return this.#moved + this.#bytesInFlight;
  }

  /** Whether requests are under way and none of them moves. */
  get isStalled() {
    return this.isBusy && performance.now() - this.#progressAt > STALLED_MS;
  }

  get #bytesInFlight() {
    return [...this.#inFlight.values()].reduce((sum, bytes) => sum + bytes, 0);
  }
}
