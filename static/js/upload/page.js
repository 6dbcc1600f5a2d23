// The upload page: an Alpine component that shows what the queue does.
import Alpine from "../../vendor/alpine/alpine-csp.esm.min.js";
import { count, isolated, size, timeLeft, visible } from "../format.js";
import { fromInput, fromTransfer } from "./drop.js";
import { keepFocus } from "./focus.js";
import { Queue } from "./queue.js";
import { Rate } from "./rate.js";
import { Memory } from "./resume.js";
import { State } from "./transfer.js";

const REFRESH_MS = 250;
const SHOWN = 200; // rows; the totals count all

const LABELS = {
  [State.WAITING]: "Waiting",
  [State.PREPARING]: "Preparing",
  [State.UPLOADING]: "Uploading",
  [State.PAUSED]: "Paused",
  [State.CHECKING]: "Checking",
  [State.STORED]: "Stored",
  [State.FAILED]: "Failed",
};

const URGENCY = [
  State.FAILED,
  State.PAUSED,
  State.CHECKING,
  State.UPLOADING,
  State.PREPARING,
  State.WAITING,
  State.STORED,
];

const PAUSABLE = new Set([State.WAITING, State.PREPARING, State.UPLOADING, State.CHECKING]);

Alpine.data("uploads", () => {
  // Outside of the component's reactive data: Alpine would wrap every file and every counter.
  let queue;
  let root;
  let fileUrl;
  const byId = new Map();
  const changed = new Set();
  const pageRate = new Rate();
  let nextId = 1;
  let timer = null;
  let dueAt = Infinity; // of the timer

  return {
    rows: [],
    more: "", // what is not drawn
    notice: "",
    over: false,
    offline: !navigator.onLine,
    loggedOut: false,
    spoken: "",
    total: { files: 0, stored: 0, failed: 0, percent: 0, text: "", title: "" },
    can: { pause: false, resume: false, clear: false, retry: false },

    init() {
      // Read once: a method that a removed row's button called has no `$root` any more.
      root = this.$root;
      fileUrl = root.dataset.fileUrl;
      const memory = new Memory(root.dataset.user);
      queue = new Queue({
        memory,
        onChange: (transfer) => this.note(transfer),
        onAnswer: () => (this.loggedOut = false),
      });
      addEventListener("online", () => (this.offline = false));
      addEventListener("offline", () => (this.offline = true));
      addEventListener("beforeunload", (event) => {
        if (this.isBusy()) event.preventDefault();
      });
      this.listenForDrops();
    },

    listenForDrops() {
      let depth = 0;
      const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
      addEventListener("dragenter", (event) => {
        if (!hasFiles(event)) return;
        depth += 1;
        this.over = true;
      });
      addEventListener("dragleave", (event) => {
        if (!hasFiles(event)) return;
        depth = Math.max(0, depth - 1);
        this.over = depth > 0;
      });
      addEventListener("dragover", (event) => event.preventDefault());
      addEventListener("drop", (event) => {
        event.preventDefault();
        depth = 0;
        this.over = false;
        this.take(event.dataTransfer);
      });
      addEventListener("paste", (event) => {
        if (event.clipboardData?.files.length) this.take(event.clipboardData);
      });
    },

    async take(transfer) {
      this.add(await fromTransfer(transfer));
    },

    choose(event) {
      this.add(fromInput(event.target));
      event.target.value = ""; // so that choosing the same file again is a change too
    },

    add({ items, unreadable }) {
      const added = queue.add(items);
      for (const transfer of added) {
        transfer.id = nextId;
        transfer.rate = new Rate();
        nextId += 1;
        byId.set(transfer.id, transfer);
      }
      this.refresh();
      this.notice = leftOut({ listed: items.length - added.length, of: items.length, unreadable });
      const news = added.length ? `${count(added.length, "file")} added. ` : "";
      this.spoken = news + this.notice;
    },

    tell(news) {
      this.notice = news;
      this.spoken = news;
    },

    dismiss() {
      const restoreFocus = keepFocus(root);
      this.notice = "";
      afterDrawing(restoreFocus);
    },

    /** Rows in the order of the queue; of very many, those that want attention come first. */
    list() {
      const ranked = queue.transfers.length > SHOWN ? byUrgency(queue.transfers) : queue.transfers;
      const known = new Map(this.rows.map((row) => [row.id, row]));
      const rows = ranked
        .slice(0, SHOWN)
        .map((transfer) => known.get(transfer.id) ?? this.rowOf(transfer));
      const before = this.rows.map(({ id }) => id).join();
      if (rows.map(({ id }) => id).join() !== before) this.rows = rows;
      this.more = summary(ranked.slice(SHOWN));
    },

    note(transfer) {
      changed.add(transfer);
      if (transfer.error?.isLoggedOut) this.loggedOut = true;
      this.refreshIn(REFRESH_MS);
    },

    /** The sooner of two wishes counts. */
    refreshIn(milliseconds) {
      const at = performance.now() + milliseconds;
      if (at >= dueAt) return;
      clearTimeout(timer);
      dueAt = at;
      timer = setTimeout(() => this.refresh(), milliseconds);
    },

    refresh() {
      const restoreFocus = keepFocus(root);
      clearTimeout(timer);
      dueAt = Infinity;
      this.list();
      const rows = new Map(this.rows.map((row) => [row.id, row]));
      // One that stands still changes too: it loses its speed.
      for (const transfer of queue.transfers) if (transfer.isRunning) changed.add(transfer);
      for (const transfer of changed) {
        const row = rows.get(transfer.id);
        if (!row) continue;
        Object.assign(row, this.rowOf(transfer));
        if (transfer.spokenOf !== row.state) this.speak(row);
        transfer.spokenOf = row.state;
      }
      changed.clear();
      this.loggedOut &&= queue.transfers.some(({ error }) => error?.isLoggedOut);
      this.sumUp();
      if (queue.transfers.some((transfer) => transfer.isRunning)) {
        this.refreshIn(1000);
      }
      afterDrawing(restoreFocus);
    },

    /** Not `row`: within the list's loop `this` also holds the loop's variable of that name. */
    rowOf(transfer) {
      const { file, state, stored, error } = transfer;
      transfer.rate?.add(transfer.movedBytes);
      if (state !== State.UPLOADING) transfer.rate?.clear();
      return {
        id: transfer.id,
        name: visible(file.name),
        path: visible(transfer.relativePath),
        state,
        label: LABELS[state],
        percent: state === State.STORED ? 100 : percent(transfer.sentBytes, file.size),
        detail: detail(transfer),
        problem: problem(transfer),
        isFailed: state === State.FAILED,
        isStored: state === State.STORED,
        url: stored ? fileUrl.replace(EMPTY_ID, stored.id) : "",
        sha256: stored ? stored.sha256 : "",
        shaId: `sha256-${transfer.id}`,
        shaRef: `#sha256-${transfer.id}`,
        canPause: PAUSABLE.has(state),
        canResume: state === State.PAUSED,
        canRetry: state === State.FAILED,
        canCancel: state !== State.STORED,
        canRestart: transfer.wasStored,
        canClear: state === State.STORED,
      };
    },

    sumUp() {
      const all = queue.transfers;
      const of = (...states) => all.filter(({ state }) => states.includes(state));
      const bytes = all.reduce((sum, { file }) => sum + file.size, 0);
      const sent = all.reduce(
        (sum, transfer) =>
          sum + (transfer.state === State.STORED ? transfer.file.size : transfer.sentBytes),
        0,
      );
      const stored = of(State.STORED).length;
      const failed = of(State.FAILED).length;
      const paused = of(State.PAUSED).length;
      const running = of(State.PREPARING, State.UPLOADING, State.CHECKING).length;
      if (running) pageRate.add(all.reduce((sum, { movedBytes }) => sum + movedBytes, 0));
      else pageRate.clear();
      const speed = pageRate.perSecond;
      const parts = [`${size(sent)} of ${size(bytes)}`];
      if (speed > 0 && sent < bytes) {
        parts.push(`${size(Math.round(speed))}/s`, timeLeft(pageRate.secondsFor(bytes - sent)));
      }
      this.total = {
        files: all.length,
        stored,
        failed,
        percent: bytes ? percent(sent, bytes) : all.length ? (100 * stored) / all.length : 0,
        text: parts.join(" · "),
        title: title({ all: all.length, stored, failed, paused, running }),
      };
      this.can = {
        pause: of(...PAUSABLE).length > 1,
        resume: paused > 1,
        retry: failed > 1,
        clear: stored > 0,
      };
    },

    speak(row) {
      if (this.total.files > 5 && row.state !== State.FAILED) return; // the sum is enough
      if (row.isStored) this.spoken = `${row.name} is stored.`;
      else if (row.isFailed) this.spoken = `${row.name} failed: ${row.problem}`;
      else if (row.state === State.PAUSED) this.spoken = `${row.name} is paused.`;
    },

    isBusy() {
      return queue.transfers.some(({ isOver }) => !isOver);
    },

    pause(id) {
      byId.get(id).pause();
      this.refresh();
    },

    resume(id) {
      queue.resume(byId.get(id));
      this.refresh();
    },

    restart(id) {
      queue.restart(byId.get(id));
      this.refresh();
    },

    async cancel(id) {
      const transfer = byId.get(id);
      const cancelled = transfer.cancel();
      this.remove(id);
      if (await cancelled) {
        this.tell(`${isolated(transfer.file.name)} was stored before it could be cancelled.`);
      }
    },

    remove(id) {
      this.drop([byId.get(id)]);
    },

    drop(transfers) {
      for (const transfer of transfers) {
        queue.remove(transfer);
        byId.delete(transfer.id);
      }
      pageRate.clear(); // what they moved is no part of the sum any more
      this.refresh();
    },

    pauseAll() {
      for (const transfer of queue.transfers) transfer.pause();
      this.refresh();
    },

    resumeAll() {
      this.again(State.PAUSED);
    },

    retryAll() {
      this.again(State.FAILED);
    },

    again(state) {
      for (const transfer of queue.transfers.filter((each) => each.state === state)) {
        queue.resume(transfer);
      }
      this.refresh();
    },

    clearStored() {
      this.drop(queue.transfers.filter(({ state }) => state === State.STORED));
    },
  };
});

const EMPTY_ID = "00000000-0000-0000-0000-000000000000";

/** When Alpine has drawn: it shows what was hidden a timer later than it hides. */
function afterDrawing(action) {
  Alpine.nextTick(() => setTimeout(action));
}

function byUrgency(transfers) {
  return URGENCY.flatMap((state) => transfers.filter((transfer) => transfer.state === state));
}

/** `and 101 more: 80 waiting, 21 stored` */
function summary(transfers) {
  if (transfers.length === 0) return "";
  const parts = URGENCY.map((state) => [
    transfers.filter((transfer) => transfer.state === state).length,
    LABELS[state].toLowerCase(),
  ]);
  const told = parts.filter(([number]) => number).map((part) => part.join(" "));
  return `and ${transfers.length} more: ${told.join(", ")}`;
}

/** Why some or all of what was chosen is not added; empty when all of it is. */
function leftOut({ listed, of, unreadable }) {
  const reasons = [];
  if (of === 0 && unreadable.length === 0) reasons.push("There is no file in what you dropped.");
  if (listed === 1) reasons.push("One file is in the list already.");
  if (listed > 1) reasons.push(`${listed} files are in the list already.`);
  if (unreadable.length) {
    const others = unreadable.length > 1 ? ` and ${unreadable.length - 1} more` : "";
    reasons.push(`${isolated(unreadable[0])}${others} could not be read.`);
  }
  return reasons.join(" ");
}

function percent(part, whole) {
  return whole ? Math.round((1000 * part) / whole) / 10 : 0;
}

function detail(transfer) {
  const { file, state, rate } = transfer;
  if (transfer.wasStored) return `${size(file.size)} · was stored already`;
  if (state === State.STORED || state === State.WAITING) return size(file.size);
  if (state === State.CHECKING) return `${size(file.size)} · verifying what arrived`;
  const parts = [`${size(transfer.sentBytes)} of ${size(file.size)}`];
  if (state === State.UPLOADING && rate?.perSecond > 0) {
    parts.push(`${size(Math.round(rate.perSecond))}/s`);
    parts.push(timeLeft(rate.secondsFor(file.size - transfer.sentBytes)));
  }
  return parts.join(" · ");
}

function problem({ state, error, note, isStalled }) {
  if (state === State.FAILED) {
    return error.isLoggedOut ? "You were logged out. Log in again, then retry." : error.message;
  }
  return note || (isStalled ? "The server is not taking anything at the moment." : "");
}

function title({ all, stored, failed, paused, running }) {
  if (stored === all) return all === 1 ? "The file is stored" : `All ${all} files are stored`;
  const done = `${stored} of ${count(all, "file")} stored`;
  if (running) return done;
  if (paused) return `${done}, paused`;
  return failed ? `${done}, ${failed} failed` : done;
}

Alpine.start();
