// The upload page: an Alpine component that shows what the queue does.
import Alpine from "../../vendor/alpine/alpine-csp.esm.min.js";
import { count, isolated } from "../format.js";
import { Access } from "./access.js";
import { renewLogin, sendFor } from "./api.js";
import { fromInput, fromTransfer } from "./drop.js";
import { keepFocus } from "./focus.js";
import { Limits } from "./limits.js";
import { Queue } from "./queue.js";
import { Rate } from "./rate.js";
import { Memory } from "./resume.js";
import { Outcome } from "./route.js";
import { rowOf } from "./rows.js";
import { leftOut, shown, summary, totals } from "./totals.js";
import { State } from "./transfer.js";

const REFRESH_MS = 250;
const SHOWN = 200; // rows; the totals count all

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
    otherAccount: false,
    spoken: "",
    total: { files: 0, stored: 0, failed: 0, percent: 0, text: "", title: "" },
    can: { pause: false, resume: false, clear: false, retry: false },

    init() {
      // Read once: a method that a removed row's button called has no `$root` any more.
      root = this.$root;
      const { user, oneRequestBytes, partBytes, leastPartBytes } = root.dataset;
      fileUrl = root.dataset.fileUrl;
      sendFor(user);
      const access = new Access({ renew: renewLogin, onChange: (error) => this.tellAccess(error) });
      queue = new Queue({
        memory: new Memory(user),
        access,
        limits: new Limits({
          oneRequest: Number(oneRequestBytes),
          part: Number(partBytes),
          leastPart: Number(leastPartBytes),
        }),
        onChange: (transfer) => this.note(transfer),
      });
      access.keepAlive(() => this.isBusy());
      this.listenToTheBrowser(access);
      this.listenForDrops();
    },

    listenToTheBrowser(access) {
      addEventListener("online", () => (this.offline = false));
      addEventListener("offline", () => (this.offline = true));
      addEventListener("focus", () => access.lookAgain());
      document.addEventListener("visibilitychange", () => access.lookAgain());
      addEventListener("beforeunload", (event) => {
        if (this.isBusy()) event.preventDefault();
      });
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

    add({ items, unreadable, emptyFolders }) {
      const { added, resumed } = queue.add(items);
      for (const transfer of added) {
        transfer.id = nextId;
        transfer.rate = new Rate();
        nextId += 1;
        byId.set(transfer.id, transfer);
      }
      this.refresh();
      const taken = added.length + resumed.length;
      const listed = items.length - taken;
      this.notice = leftOut({ listed, of: items.length, unreadable, emptyFolders });
      const news = taken ? `${count(taken, "file")} added. ` : "";
      this.spoken = news + this.notice;
    },

    /** `error`: why the account of this page may do nothing; null when it may again. */
    tellAccess(error) {
      this.loggedOut = Boolean(error?.isLoggedOut);
      this.otherAccount = Boolean(error) && !error.isLoggedOut;
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
      const known = new Map(this.rows.map((row) => [row.id, row]));
      const isDrawn = ({ id }) => known.has(id);
      const { drawn, others } = shown(queue.transfers, { most: SHOWN, isDrawn });
      const rows = drawn.map((transfer) => known.get(transfer.id) ?? this.draw(transfer));
      const before = this.rows.map(({ id }) => id).join();
      if (rows.map(({ id }) => id).join() !== before) this.rows = rows;
      this.more = summary(others);
    },

    note(transfer) {
      changed.add(transfer);
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
        Object.assign(row, this.draw(transfer));
        if (transfer.spokenOf !== row.state) this.speak(row);
        transfer.spokenOf = row.state;
      }
      changed.clear();
      ({ total: this.total, can: this.can } = totals(queue.transfers, pageRate));
      if (queue.transfers.some((transfer) => transfer.isRunning)) {
        this.refreshIn(1000);
      }
      afterDrawing(restoreFocus);
    },

    /** Not `row`: within the list's loop `this` also holds the loop's variable of that name. */
    draw(transfer) {
      transfer.rate?.add(transfer.meter.moved);
      if (transfer.state !== State.UPLOADING) transfer.rate?.clear();
      return rowOf(transfer, fileUrl);
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

    replace(id, event) {
      const [item] = fromInput(event.target).items;
      event.target.value = "";
      if (!item) return;
      const transfer = byId.get(id);
      queue.replace(transfer, { ...item, relativePath: transfer.relativePath });
      this.refresh();
    },

    async cancel(id) {
      const transfer = byId.get(id);
      const cancelled = transfer.cancel();
      this.remove(id);
      const name = isolated(transfer.file.name);
      const outcome = await cancelled;
      if (outcome === Outcome.STORED) this.tell(`${name} was stored before it could be cancelled.`);
      if (outcome === Outcome.UNKNOWN) {
        this.tell(`${name} may have been stored before it was cancelled: look among the uploads.`);
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

/** When Alpine has drawn: it shows what was hidden a timer later than it hides. */
function afterDrawing(action) {
  Alpine.nextTick(() => setTimeout(action));
}

Alpine.start();
