// How fast bytes go, smoothed over the last seconds, so that figures stay calm.

const WINDOW_MS = 8000;

export class Rate {
  #samples = [];

  /** `total`: bytes sent so far. It may fall when a part is sent again. */
  add(total, now = performance.now()) {
    this.#samples.push([now, total]);
    while (this.#samples.length > 2 && now - this.#samples[0][0] > WINDOW_MS) {
      this.#samples.shift();
    }
  }

  clear() {
    this.#samples = [];
  }

  /** Bytes per second; 0 while there is too little to tell. */
  get perSecond() {
    if (this.#samples.length < 2) return 0;
    const [firstAt, first] = this.#samples[0];
    const [lastAt, last] = this.#samples.at(-1);
    const seconds = (lastAt - firstAt) / 1000;
    return seconds < 0.5 ? 0 : Math.max(0, (last - first) / seconds);
  }

  /** Seconds for the rest; Infinity while nothing moves. */
  secondsFor(bytes) {
    const speed = this.perSecond;
    return speed > 0 ? bytes / speed : Infinity;
  }
}
