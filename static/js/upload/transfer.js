// One file from being chosen to being stored: its state, and the user's actions on it.
import { FileChanged, OtherFile, Stopped } from "./errors.js";
import { abortSession, finalizeSession, getFile } from "./api.js";
import { sleep } from "./backoff.js";
import { Meter } from "./meter.js";
import { OneRequest, longestAddress } from "./one_request.js";
import { Ticket } from "./resume.js";
import { Persistence } from "./retry.js";
import { Outcome } from "./route.js";
import { InParts } from "./session.js";
import { Source } from "./source.js";

export const State = {
  WAITING: "waiting",
  PREPARING: "preparing",
  UPLOADING: "uploading",
  PAUSING: "pausing", // what is under way arrives first
  PAUSED: "paused",
  CHECKING: "checking",
  HELD: "held", // by the server, which has all of it, and checks it before it is stored
  STORED: "stored",
  FAILED: "failed",
  CANCELLED: "cancelled",
};

const RUNNING = new Set([State.PREPARING, State.UPLOADING, State.PAUSING, State.CHECKING]);
const FIRST_QUESTION_MS = 2_000; // what became of it
const LATER_QUESTIONS_MS = 60_000;
const OVER = new Set([State.STORED, State.FAILED, State.CANCELLED]);

export class Transfer {
  state = State.WAITING;
  note = ""; // what it is waiting for, while it is trying again
  error = null;
  stored = null; // the API's file, once stored
  held = null; // its id and its session's, while it is being checked
  wasStored = false; // before it was chosen
  hasJoined = false; // the batch of its group
  meter = new Meter();
  isLeaving = false; // cancelled, but not for good yet

  #shared;
  #source;
  #ticket;
  #persistence;
  #route = null;
  #control = new AbortController();
  #wasRefused = false;

  /** `item`: {file, relativePath, entry}. `group` may lend the file a batch. `shared` is the whole
   *  page's: {slots, pace, limits, memory, access, onChange}. */
  constructor(item, { group, shared }) {
    this.group = group;
    this.#shared = shared;
    this.#persistence = new Persistence({ access: shared.access, say: (note) => this.#say(note) });
    this.#take(item);
  }

  get sentBytes() {
    return Math.min(this.meter.sent, this.file.size);
  }

  get isRunning() {
    return RUNNING.has(this.state);
  }

  get isOver() {
    return OVER.has(this.state);
  }

  /** Whether it is done with its batch: stored, given up, or refused for what it is. */
  get isSettled() {
    if (this.state === State.HELD) return true;
    return this.state === State.FAILED ? Boolean(this.error.isFinal) : this.isOver;
  }

  /** Whether its batch is to have it, or to count it as failed. */
  get counts() {
    return this.hasJoined || this.#wasRefused;
  }

  /** The session that it goes on with; none while it has none. */
  get sessionId() {
    return this.#ticket.entry?.sessionId;
  }

  /** Whether it was stored before, as far as this browser remembers. */
  get isRemembered() {
    return Boolean(this.#ticket.entry?.fileId);
  }

  /** From waiting to the end, or to a pause. Never rejects. */
  async run() {
    const { signal } = (this.#control = new AbortController());
    this.#persistence.reset();
    this.held = null;
    try {
      this.#become(State.PREPARING);
      this.stored = await this.#storedBefore(signal);
      this.wasStored = this.stored !== null;
      this.stored ??= await this.#checked(await this.#send(signal), signal);
      this.#ticket.keep({ fileId: this.stored.id, batchId: this.stored.batch_id });
      this.#become(State.STORED);
    } catch (error) {
      if (!(error instanceof Stopped)) this.#fail(error);
    }
  }

  /** Lets arrive what is under way. Asked again, or with nothing under way, it stops at once. */
  pause() {
    if (this.isOver || this.state === State.PAUSED || this.state === State.HELD) return;
    if (this.state === State.UPLOADING && this.meter.isBusy) this.#become(State.PAUSING);
    else this.#pauseNow();
  }

  /** Back into the queue, after a pause or a failure. */
  queue() {
    if (this.state === State.PAUSING) {
      this.#become(State.UPLOADING);
      return;
    }
    // Only whoever asks for another try may begin anew what the server does not know any more.
    if (this.error?.code === "session_not_found") this.#forget();
    this.error = null;
    this.#become(State.WAITING);
  }

  /** Sends a file that was stored before once more, as another file. */
  restart() {
    this.#forget();
    this.stored = null;
    this.wasStored = false;
    this.queue();
  }

  /** Another choice for a file that failed: the same once more, or changed. */
  replace(item) {
    const { size, lastModified } = this.file;
    const isSame = item.file.size === size && item.file.lastModified === lastModified;
    if (!isSame) this.#abandon();
    this.#take(item);
    this.queue();
  }

  /** Resolves to what came of it: see Outcome. */
  async cancel() {
    if (this.state === State.STORED) return Outcome.STORED;
    if (this.held) return this.#giveUpHeld();
    const { entry } = this.#ticket;
    const route = this.#route ?? (entry?.sessionId ? new InParts(this.#job) : null);
    this.#become(State.CANCELLED);
    this.#stop();
    this.#forget();
    return route ? route.giveUp(entry) : Outcome.GIVEN_UP;
  }

  /** The file once it is stored; other files go on meanwhile. `reply` is it, or its session. */
  async #checked(reply, signal) {
    for (let pause = FIRST_QUESTION_MS; reply.session_id; pause *= 1.5) {
      this.held = { id: reply.file_id, sessionId: reply.session_id };
      if (this.state !== State.HELD) this.#become(State.HELD);
      this.#say(reply.checking?.waits_for?.message ?? "");
      await sleep(Math.min(pause, LATER_QUESTIONS_MS), signal);
      reply = await this.#persistence.run((s) => finalizeSession(this.held.sessionId, s), signal);
    }
    this.held = null;
    return reply;
  }

  async #giveUpHeld() {
    const { sessionId } = this.held;
    this.held = null;
    this.#become(State.CANCELLED);
    this.#stop();
    this.#forget();
    try {
      await this.#persistence.run(() => abortSession(sessionId), new AbortController().signal);
    } catch (error) {
      if (error.code === "session_complete") return Outcome.STORED;
      if (error.status === undefined) throw error; // else it is failed by now
    }
    return Outcome.GIVEN_UP;
  }

  #take(item) {
    this.file = item.file;
    this.relativePath = item.relativePath;
    this.#source = new Source(item.file, { entry: item.entry });
    this.#ticket = new Ticket(this.#shared.memory, item);
  }

  /** What an upload route gets of this file. */
  get #job() {
    return {
      file: this.file,
      relativePath: this.relativePath,
      source: this.#source,
      ticket: this.#ticket,
      group: this.group,
      meter: this.meter,
      persistence: this.#persistence,
      slots: this.#shared.slots,
      pace: this.#shared.pace,
      limits: this.#shared.limits,
      joined: () => (this.hasJoined = true),
      begin: (doneBytes) => this.#begin(doneBytes),
      check: () => this.#become(State.CHECKING),
      isPausing: () => this.state === State.PAUSING,
      ended: (request, end) => this.#ended(request, end),
      progress: (request, bytes) => this.#progress(request, bytes),
    };
  }

  #begin(doneBytes) {
    this.meter.begin(doneBytes);
    this.#become(State.UPLOADING);
  }

  #progress(request, bytes) {
    this.meter.progress(request, bytes);
    if (bytes > 0) this.#persistence.moved();
    this.#shared.onChange(this);
  }

  /** The last one that a pause waited for ends it, unless it was the whole file. */
  #ended(request, { isWhole = false } = {}) {
    this.meter.ended(request);
    if (this.state === State.PAUSING && !this.meter.isBusy && !isWhole) this.#pauseNow();
    else this.#shared.onChange(this);
  }

  #pauseNow() {
    this.#become(State.PAUSED);
    this.#stop();
  }

  async #send(signal) {
    const { limits } = this.#shared;
    for (;;) {
      this.#route ??= this.#chosenRoute();
      const attempt = new AbortController(); // ends what is still under way of one that failed
      try {
        return await this.#route.send(AbortSignal.any([signal, attempt.signal]));
      } catch (error) {
        attempt.abort(new Stopped());
        const mayShrink = error.isTooLargeForProxy && this.#route.canShrink;
        if (!mayShrink || !limits.lower(this.#route.bodyBytes)) throw error;
        await this.#route.replace();
        signal.throwIfAborted();
        this.#forget();
      }
    }
  }

  #chosenRoute() {
    const isBegun = Boolean(this.#ticket.entry?.sessionId);
    const fits = { size: this.file.size, address: longestAddress(this) };
    const inOne = !isBegun && this.#shared.limits.fitOneRequest(fits);
    return inOne ? new OneRequest(this.#job) : new InParts(this.#job);
  }

  /** The file if it was stored before and the server still keeps it. */
  async #storedBefore(signal) {
    const { entry } = this.#ticket;
    if (!entry?.fileId) return null;
    try {
      const file = await this.#persistence.run((s) => getFile(entry.fileId, s), signal);
      if (file.status === "stored") return file;
    } catch (error) {
      if (error.code !== "file_not_found") throw error;
    }
    this.#forget();
    return null;
  }

  #fail(error) {
    this.#stop();
    this.error = error;
    this.#wasRefused ||= !this.hasJoined;
    if (error instanceof FileChanged || error.code === "part_differs") this.#abandon();
    else if (error instanceof OtherFile || isEndOf(error)) this.#forget();
    this.#become(State.FAILED);
  }

  /** Drops what the server has: it comes from other bytes, so nothing may be added to it. */
  #abandon() {
    this.#route?.replace(); // its failure costs nothing: idle sessions end by themselves
    this.#forget();
  }

  #forget() {
    this.#ticket.forget();
    this.#route = null;
    this.meter.begin(0);
  }

  #stop() {
    this.meter.stop();
    this.#control.abort(new Stopped());
  }

  #become(state) {
    this.state = state;
    this.note = "";
    this.#shared.onChange(this);
    if (this.isSettled) this.group.settle();
  }

  #say(note) {
    this.note = note;
    this.#shared.onChange(this);
  }
}

/** Whether the server gave up what was begun; the next try begins a new one. */
function isEndOf({ status, code }) {
  return [410, 415, 422].includes(status) || code === "idempotency_key_reused";
}
