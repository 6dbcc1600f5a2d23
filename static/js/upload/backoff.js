// When to try again. Delays in milliseconds.

const FIRST_MS = 500;
const LONGEST_MS = 30_000;

/** Exponential with full jitter above a floor; never sooner than the server asked for. */
export function delay(attempt, { retryAfterSeconds = 0, random = Math.random } = {}) {
  const ceiling = Math.min(LONGEST_MS, FIRST_MS * 2 ** attempt);
  return Math.max(retryAfterSeconds * 1000, ceiling / 2 + (random() * ceiling) / 2);
}

/** Resolves after `ms`, or rejects with the signal's reason as soon as it is aborted. */
export function sleep(ms, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, ms);
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop, { once: true });
  });
}

/** Resolves when the browser says that it is online, at once when it does so already. */
export function online(signal) {
  return new Promise((resolve, reject) => {
    if (navigator.onLine) {
      resolve();
      return;
    }
    const done = new AbortController();
    addEventListener("online", () => (done.abort(), resolve()), { signal: done.signal });
    signal.addEventListener("abort", () => (done.abort(), reject(signal.reason)), {
      signal: done.signal,
    });
  });
}
