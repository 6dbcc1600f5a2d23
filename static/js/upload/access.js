// Whether this page's account is logged in. While it is not, what the page does waits.
import { delay, sleep } from "./backoff.js";

const RENEW_MS = 10 * 60_000;
const FIRST_PROBE = 3; // as `delay` counts: some seconds apart from the beginning

export class Access {
  #renew;
  #onChange;
  #lost = null; // {regained: promise with resolvers, wake}

  /** `renew(signal)` prolongs the session or fails; `onChange` gets the error while the account is
   *  not logged in, and null when it is. */
  constructor({ renew, onChange }) {
    this.#renew = renew;
    this.#onChange = onChange;
  }

  /** Resolves when this page's account is logged in again. */
  regained(error, signal) {
    this.#lose(error);
    const { promise } = this.#lost.regained;
    return new Promise((resolve, reject) => {
      const stop = () => reject(signal.reason);
      if (signal.aborted) stop();
      signal.addEventListener("abort", stop, { once: true });
      promise.then(() => {
        signal.removeEventListener("abort", stop);
        resolve();
      });
    });
  }

  /** Somebody is back at this page: perhaps from logging in elsewhere. */
  lookAgain() {
    this.#lost?.wake.abort();
  }

  /** Keeps the session alive while `isBusy()`. */
  keepAlive(isBusy) {
    setInterval(() => {
      if (isBusy() && !this.#lost) this.#renewOnce();
    }, RENEW_MS);
  }

  async #renewOnce() {
    try {
      await this.#renew();
    } catch (error) {
      if (error.isNotOurs) this.#lose(error); // any other failure may pass until the next time
    }
  }

  #lose(error) {
    if (this.#lost) return;
    this.#lost = { regained: Promise.withResolvers(), wake: new AbortController() };
    this.#onChange(error);
    this.#probe();
  }

  async #probe() {
    for (let attempt = FIRST_PROBE; ; attempt += 1) {
      await this.#pause(delay(attempt));
      try {
        await this.#renew();
        break;
      } catch (error) {
        if (error.isNotOurs) this.#onChange(error); // it may be another reason now
      }
    }
    const { regained } = this.#lost;
    this.#lost = null;
    this.#onChange(null);
    regained.resolve();
  }

  /** Ends early when somebody looks at the page. */
  async #pause(milliseconds) {
    const wake = new AbortController();
    this.#lost.wake = wake;
    await sleep(milliseconds, wake.signal).catch(() => {});
  }
}
