// The uploads of this tab: a drawer in the application's frame, which stays while pages change.
import { count, isolated } from "../format.js";
import { Access } from "./access.js";
import { abortSession, renewLogin, sendFor, unfinishedSessions } from "./api.js";
import { Awake } from "./awake.js";
import { fromInput } from "./drop.js";
import { keepFocus } from "./focus.js";
import { keptRow } from "./kept.js";
import { Limits } from "./limits.js";
import { Order } from "./order.js";
import { Pace } from "./pace.js";
import { Panel } from "./panel.js";
import { Queue } from "./queue.js";
import { Rate } from "./rate.js";
import { Memory } from "./resume.js";
import { Outcome } from "./route.js";
import { rowOf } from "./rows.js";
import { leftOut, totals } from "./totals.js";
import { State } from "./transfer.js";
import { List } from "./view.js";

const REFRESH_MS = 250;
const UNDO_MS = 6000;
const UNDO_KEPT = "kept:"; // before the id of a session

class Uploads {
  #root;
  #queue;
  #access;
  #panel;
  #list;
  #keptList;
  #order = new Order();
  #awake = new Awake();
  #byId = new Map();
  #kept = new Map(); // session's id → {session, isLeaving}
  #leaving = new Map(); // id → timer
  #changed = new Set();
  #rate = new Rate();
  #nextId = 1;
  #timer = null;
  #dueAt = Infinity; // of the timer
  #total;

  constructor(root) {
    this.#root = root;
    const { user, oneRequestBytes, partBytes, leastPartBytes } = root.dataset;
    sendFor(root.dataset);
    const pace = new Pace();
    this.#panel = new Panel(root);
    this.#access = new Access({ renew: renewLogin, onChange: (e) => this.#panel.tellAccess(e) });
    this.#queue = new Queue({
      memory: new Memory(user),
      access: this.#access,
      pace,
      limits: new Limits({
        oneRequest: Number(oneRequestBytes),
        part: Number(partBytes),
        leastPart: Number(leastPartBytes),
        pace,
      }),
      onChange: (transfer) => this.#note(transfer),
    });
    this.#list = new List({ ...this.#panel.rows, draw: (id) => this.#row(this.#byId.get(id)) });
    this.#keptList = new List({ ...this.#panel.keptRows, draw: (id) => this.#keptRow(id) });
    this.#access.keepAlive(() => this.#isBusy());
    this.#listen();
    this.#moved();
  }

  #listen() {
    addEventListener("online", () => this.#panel.tellOffline(false));
    addEventListener("offline", () => this.#panel.tellOffline(true));
    addEventListener("focus", () => this.#access.lookAgain());
    document.addEventListener("visibilitychange", () => this.#access.lookAgain());
    addEventListener("beforeunload", (event) => {
      if (this.#isBusy()) event.preventDefault();
    });
    this.#root.addEventListener("change", (event) => this.#choose(event.target));
    this.#root.addEventListener("click", (event) => this.#act(event.target.closest("[data-act]")));
    document.addEventListener("htmx:afterSettle", () => this.#moved());
  }

  /** Another page is in the main area. */
  #moved() {
    if (this.#panel.move()) this.#lookForKept();
    this.#refresh();
  }

  async #lookForKept() {
    try {
      const { items } = await unfinishedSessions();
      const isKnown = (id) => this.#kept.has(id);
      const fresh = items.filter(({ session_id: id }) => !isKnown(id));
      for (const session of fresh) this.#kept.set(session.session_id, { session });
      this.#refresh();
    } catch (error) {
      if (error.status === undefined) throw error; // without it, uploading works all the same
    } finally {
      this.#root.dataset.ready = "";
    }
  }

  // --- What a person does --------------------------------------------------------------------

  #choose(input) {
    const id = input.closest("[data-upload], [data-kept]")?.dataset.id;
    if (!id) return; // it adds files: see start.js
    const found = fromInput(input);
    input.value = ""; // so that choosing the same file again is a change too
    if (this.#kept.has(id)) this.#goOn(this.#kept.get(id).session, found);
    else this.#replace(this.#byId.get(Number(id)), found.items[0]);
  }

  #goOn({ filename, relative_path: relativePath, size_bytes: bytes }, { items: [item] }) {
    if (!item) return;
    if (item.file.size !== bytes || item.file.name.normalize("NFC") !== filename.normalize("NFC")) {
      this.#tell(`${isolated(item.file.name)} is not the file that was begun: its name or size differs.`);
      return;
    }
    this.add({ items: [{ ...item, relativePath }], unreadable: [], emptyFolders: [] });
  }

  #replace(transfer, item) {
    if (!item) return;
    this.#queue.replace(transfer, { ...item, relativePath: transfer.relativePath });
    this.#refresh();
  }

  /** What was chosen or dropped: see drop.js. */
  add({ items, unreadable, emptyFolders }) {
    const kept = [...this.#kept.values()].map(({ session }) => session);
    const { added, resumed } = this.#queue.add(items, kept);
    for (const transfer of added) {
      transfer.id = this.#nextId;
      transfer.rate = new Rate();
      this.#nextId += 1;
      this.#byId.set(transfer.id, transfer);
    }
    this.#panel.unfold();
    this.#refresh();
    const taken = added.length + resumed.length;
    const listed = items.length - taken;
    const notice = leftOut({ listed, of: items.length, unreadable, emptyFolders });
    this.#panel.tellNotice(notice);
    this.#panel.speak((taken ? `${count(taken, "file")} added. ` : "") + notice);
  }

  #act(button) {
    if (!button) return;
    const { act } = button.dataset;
    const id = button.closest("[data-upload], [data-kept]")?.dataset.id;
    const restoreFocus = keepFocus(this.#root);
    if (id && this.#kept.has(id)) this.#actOnKept(act, id);
    else if (id) this.#actOn(act, this.#byId.get(Number(id)));
    else this.#actOnAll(act);
    this.#refresh();
    restoreFocus();
  }

  #actOn(act, transfer) {
    const queue = this.#queue;
    if (act === "pause" || act === "stop") transfer.pause();
    else if (act === "resume" || act === "retry") queue.resume(transfer);
    else if (act === "restart") queue.restart(transfer);
    else if (act === "cancel") this.#leave(transfer);
    else if (act === "undo") this.#comeBack(transfer);
    else if (act === "leave") this.#giveUp(transfer);
    else if (act === "remove") this.#drop([transfer]);
  }

  #actOnAll(act) {
    const all = this.#queue.transfers.filter(({ isLeaving }) => !isLeaving);
    const of = (state) => all.filter((transfer) => transfer.state === state);
    if (act === "pause-all") for (const transfer of all) if (transfer.state !== State.PAUSING) transfer.pause();
    if (act === "resume-all") for (const transfer of of(State.PAUSED)) this.#queue.resume(transfer);
    if (act === "retry-all") for (const transfer of of(State.FAILED)) this.#queue.resume(transfer);
    if (act === "clear") this.#drop(of(State.STORED));
    if (act === "dismiss") this.#panel.tellNotice("");
    if (act === "fold") this.#panel.fold();
  }

  /** Stops it, and gives it up a little later: until then it can be undone. */
  #leave(transfer) {
    const wasGoing =
      !transfer.isOver && ![State.PAUSED, State.PAUSING, State.HELD].includes(transfer.state);
    transfer.isLeaving = true;
    if (transfer.state !== State.HELD) transfer.pause();
    const timer = setTimeout(() => this.#giveUp(transfer), UNDO_MS);
    this.#leaving.set(transfer.id, { timer, wasGoing });
    this.#panel.speak(`${isolated(transfer.file.name)} is cancelled. It can be undone for a few seconds.`);
  }

  #comeBack(transfer) {
    const { timer, wasGoing } = this.#leaving.get(transfer.id);
    clearTimeout(timer);
    this.#leaving.delete(transfer.id);
    transfer.isLeaving = false;
    if (wasGoing && !transfer.isOver) this.#queue.resume(transfer);
  }

  async #giveUp(transfer) {
    clearTimeout(this.#leaving.get(transfer.id)?.timer);
    this.#leaving.delete(transfer.id);
    const cancelled = transfer.cancel();
    const restoreFocus = keepFocus(this.#root);
    this.#drop([transfer]);
    restoreFocus();
    const name = isolated(transfer.file.name);
    const outcome = await cancelled;
    if (outcome === Outcome.STORED) this.#tell(`${name} was stored before it could be cancelled.`);
    if (outcome === Outcome.UNKNOWN) {
      this.#tell(`${name} may have been stored before it was cancelled: look among the files.`);
    }
  }

  #actOnKept(act, id) {
    const kept = this.#kept.get(id);
    const key = UNDO_KEPT + id;
    clearTimeout(this.#leaving.get(key)?.timer);
    this.#leaving.delete(key);
    kept.isLeaving = act === "cancel";
    if (act === "leave") this.#discard(id);
    if (act !== "cancel") return;
    const timer = setTimeout(() => this.#discard(id), UNDO_MS);
    this.#leaving.set(key, { timer });
  }

  async #discard(id) {
    this.#kept.delete(id);
    this.#refresh();
    try {
      await abortSession(id);
    } catch (error) {
      if (error.status === undefined) throw error;
      this.#tell(`It could not be given up: ${error.message}`);
    }
  }

  #drop(transfers) {
    for (const transfer of transfers) {
      this.#queue.remove(transfer);
      this.#byId.delete(transfer.id);
    }
    this.#rate.clear(); // what they moved is no part of the sum any more
    this.#refresh();
  }

  // --- What the page shows -------------------------------------------------------------------

  #tell(news) {
    this.#panel.tellNotice(news);
    this.#panel.speak(news);
  }

  #note(transfer) {
    this.#changed.add(transfer);
    this.#refreshIn(REFRESH_MS);
  }

  /** The sooner of two wishes counts. */
  #refreshIn(milliseconds) {
    const at = performance.now() + milliseconds;
    if (at >= this.#dueAt) return;
    clearTimeout(this.#timer);
    this.#dueAt = at;
    this.#timer = setTimeout(() => this.#refresh(), milliseconds);
  }

  #refresh() {
    const restoreFocus = keepFocus(this.#root);
    clearTimeout(this.#timer);
    this.#dueAt = Infinity;
    const { transfers } = this.#queue;
    for (const transfer of transfers) this.#measure(transfer);
    const summed = totals(transfers, this.#rate);
    this.#total = summed.total;
    this.#panel.show({ ...summed, stored: transfers.map(({ stored }) => stored).filter(Boolean) });
    this.#showRows(transfers);
    this.#speakOfChanges();
    this.#awake.while(this.#isBusy());
    if (transfers.some((transfer) => transfer.isRunning)) this.#refreshIn(1000);
    restoreFocus();
  }

  #showRows(transfers) {
    const rows = this.#order.of(transfers);
    this.#list.show(rows.map(({ id, problem }) => ({ key: id, isTall: Boolean(problem) })));
    const known = new Set(transfers.map(({ sessionId }) => sessionId));
    for (const id of this.#kept.keys()) if (known.has(id)) this.#kept.delete(id);
    this.#keptList.show([...this.#kept.keys()].map((key) => ({ key, isTall: false })));
    this.#panel.showKept(this.#kept.size);
  }

  #measure(transfer) {
    transfer.rate?.add(transfer.meter.moved);
    if (transfer.state !== State.UPLOADING) transfer.rate?.clear();
    transfer.problem = rowOf(transfer, "").problem;
  }

  #row(transfer) {
    return rowOf(transfer, this.#root.dataset.fileUrl);
  }

  #keptRow(id) {
    const { session, isLeaving } = this.#kept.get(id);
    const [state, label] = isLeaving ? ["leaving", "Given up"] : ["kept", "Unfinished"];
    const actions = isLeaving ? ["undo", "leave"] : ["replace", "cancel"];
    return { ...keptRow(session), state, label, url: "", path: session.relative_path, problem: "", actions };
  }

  #speakOfChanges() {
    for (const transfer of this.#changed) {
      if (!this.#byId.has(transfer.id) || transfer.spokenOf === transfer.state) continue;
      transfer.spokenOf = transfer.state;
      this.#speakOf(this.#row(transfer));
    }
    this.#changed.clear();
  }

  #speakOf({ name, state, problem }) {
    if (this.#total.files > 5 && state !== State.FAILED) return; // the sum is enough
    if (state === State.STORED) this.#panel.speak(`${name} is stored.`);
    else if (state === State.FAILED) this.#panel.speak(`${name} failed: ${problem}`);
    else if (state === State.HELD) this.#panel.speak(`${name} has arrived and is being checked.`);
    else if (state === State.PAUSED) this.#panel.speak(`${name} is paused.`);
  }

  #isBusy() {
    return this.#queue.transfers.some(({ isOver, state }) => !isOver && state !== State.HELD);
  }
}

export const uploads = new Uploads(document.getElementById("uploads"));
