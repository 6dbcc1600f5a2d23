// Repeats actions that failed for a temporary reason.
import { delay, online, sleep } from "./backoff.js";

const TRIES = 10; // in a row without success; waiting for the network or a log-in does not count

export class Persistence {
  #access;
  #say;
  #tries;
  #failures = 0; // in a row: they make the waits longer
  #faults = 0; // those of them that may be the request's own
  #note = "";

  /** `say` is told what is being waited for, and "" when it goes on. */
  constructor({ access, say = () => {}, tries = TRIES }) {
    this.#access = access;
    this.#say = say;
    this.#tries = tries;
  }

  reset() {
    this.#failures = 0;
    this.#faults = 0;
  }

  /** The result of `action(signal)`; the tries count anew after every success. */
  async run(action, signal) {
    for (;;) {
      signal.throwIfAborted();
      try {
        const result = await action(signal);
        this.reset();
        this.#tell("");
        return result;
      } catch (error) {
        signal.throwIfAborted();
        if (error.isNotOurs) await this.#untilOurs(error, signal);
        else if (error.isTransient) await this.#wait(error, signal);
        else throw error;
      }
    }
  }

  /** To be called when bytes move again. */
  moved() {
    this.#tell("");
  }

  async #untilOurs(error, signal) {
    this.#tell("Waits until you are logged in again.");
    await this.#access.regained(error, signal);
    this.#tell("");
  }

  async #wait(error, signal) {
    if (!navigator.onLine) {
      this.#tell("You are offline. The upload goes on when the connection is back.");
      await online(signal);
      this.#tell("");
      return;
    }
    this.#failures += 1;
    // A late server still works on it, and an outage ends: asking again is harmless, without limit.
    if (!error.isLate && !error.isOutage) this.#faults += 1;
    if (this.#faults > this.#tries) throw error;
    const pause = delay(this.#failures, { retryAfterSeconds: error.retryAfter });
    if (!error.isBusy) this.#tell(`${error.message} Trying again.`);
    await sleep(pause, signal);
  }

  #tell(note) {
    if (note === this.#note) return;
    this.#note = note;
    this.#say(note);
  }
}
