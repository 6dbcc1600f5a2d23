// What both ways to upload a file share: in one request, or in the parts of a session.
import { newKey } from "./resume.js";

/** The outcome of giving up an upload. */
export const Outcome = {
  GIVEN_UP: "given up",
  STORED: "stored", // it was too late
  UNKNOWN: "unknown", // the answer was lost
};

/** Makes a new file of the batch by `ask(entry)`, and without the batch if that takes none any
 *  more. The key is remembered before the request: if the answer is lost, asking again finds what
 *  it made. */
export async function claim(job, { isWhole, signal, ask }) {
  for (;;) {
    const entry = await drawn(job, { isWhole, signal });
    try {
      return await ask(entry);
    } catch (error) {
      if (!error.isOfBatch || !entry.batchId) throw error;
      job.group.leave(entry.batchId);
      job.ticket.forget();
    }
  }
}

async function drawn({ file, ticket, group, limits, persistence }, { isWhole, signal }) {
  const before = ticket.entry;
  if (before?.key && !before.sessionId && Boolean(before.isWhole) === isWhole) return before;
  const batchId = before?.batchId ?? (await persistence.run(() => group.batchId(), signal));
  // Asked with the same key again, the server wants the same size of parts.
  const part = isWhole ? undefined : limits.partFor(file.size);
  const entry = { key: newKey(), batchId, isWhole, part };
  ticket.keep(entry);
  return entry;
}

/** As `promise`, but rejects with the signal's reason as soon as it is aborted. */
export function unlessAborted(promise, signal) {
  const aborted = Promise.withResolvers();
  const stop = () => aborted.reject(signal.reason);
  if (signal.aborted) stop();
  signal.addEventListener("abort", stop, { once: true });
  return Promise.race([promise, aborted.promise]).finally(() =>
    signal.removeEventListener("abort", stop),
  );
}
