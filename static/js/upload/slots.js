// A counted lock: at most so many actions at a time, first come, first served.

export class Slots {
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
