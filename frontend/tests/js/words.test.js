import { FileChanged, problem } from "/static/js/upload/errors.js";
import { Meter } from "/static/js/upload/meter.js";
import { Rate } from "/static/js/upload/rate.js";
import { Order } from "/static/js/upload/order.js";
import { rowOf } from "/static/js/upload/rows.js";
import { leftOut, totals } from "/static/js/upload/totals.js";
import { State } from "/static/js/upload/transfer.js";
import { equal, ok, test } from "./harness.js";

function transfer(state, values = {}) {
  const file = new File(["0123456789"], "a.txt");
  const meter = new Meter();
  return { id: 1, file, relativePath: "", state, meter, note: "", sentBytes: 0, ...values };
}

const failed = (status, code) =>
  transfer(State.FAILED, { error: problem(status, JSON.stringify({ code, detail: "Why." }), null) });
const left = (values) => leftOut({ listed: 0, of: 1, unreadable: [], emptyFolders: [], ...values });

test("a failed file can be tried again, one that changed must be chosen again", () => {
  const refused = rowOf(failed(507, "no_room"), "");
  equal([refused.actions, refused.problem], [["retry", "cancel"], "Why."]);
  const changed = rowOf(transfer(State.FAILED, { error: new FileChanged() }), "");
  equal(changed.actions, ["replace", "cancel"]);
  ok(changed.problem.includes("Choose it again."));
});

test("what can be done about a failure is said with it", () => {
  ok(rowOf(failed(404, "session_not_found"), "").problem.includes("from its beginning"));
  ok(rowOf(failed(410, "session_aborted"), "").problem.includes("another tab"));
  equal(rowOf(failed(400, "invalid_filename"), "").problem, "Why. Rename the file, then choose it again.");
});

test("a stored file links to its page", () => {
  const stored = { id: "f1" };
  const row = rowOf(transfer(State.STORED, { stored }), "/u/00000000-0000-0000-0000-000000000000/");
  equal([row.url, row.percent, row.actions], ["/u/f1/", 100, ["remove"]]);
});

test("a file that is being checked is not called stored, and says what it waits for", () => {
  const held = { id: "f1" };
  const values = { held, note: "The virus scanner does not answer.", sentBytes: 10 };
  const row = rowOf(transfer(State.HELD, values), "/u/00000000-0000-0000-0000-000000000000/");
  equal([row.label, row.url, row.actions], ["Being checked", "/u/f1/", ["cancel"]]);
  equal([row.detail, row.problem], ["10 B · stored once it is checked", values.note]);
  const { total } = totals([transfer(State.HELD, values), transfer(State.STORED)], new Rate());
  equal(total.title, "1 of 2 files stored, 1 being checked");
});

test("totals tell how far all files are", () => {
  const all = [
    transfer(State.STORED),
    transfer(State.UPLOADING, { sentBytes: 5 }),
    transfer(State.FAILED),
    transfer(State.FAILED),
  ];
  const { total, can } = totals(all, new Rate());
  equal([total.title, total.text, total.percent], ["1 of 4 files stored", "15 B of 40 B", 37.5]);
  equal(can, { pause: false, resume: false, retry: true, clear: true });
});

test("what failed is not waited for", () => {
  const rate = new Rate();
  const meter = new Meter();
  const running = transfer(State.UPLOADING, { isOver: false, sentBytes: 4, meter });
  rate.add(0, performance.now() - 2000);
  meter.progress("a", 4); // in two seconds
  const { total } = totals([running, transfer(State.FAILED, { isOver: true })], rate);
  equal(total.text, "4 B of 20 B · 2 B/s · 4 s left");
});

test("titles tell what stands still", () => {
  const title = (...states) => totals(states.map((state) => transfer(state)), new Rate()).total.title;
  equal(title(State.STORED), "The file is stored");
  equal(title(State.STORED, State.STORED), "All 2 files are stored");
  equal(title(State.PAUSED, State.FAILED), "0 of 2 files stored, paused");
  equal(title(State.PAUSED, State.PAUSING), "0 of 2 files stored, pausing");
  equal(title(State.FAILED), "0 of 1 file stored, 1 failed");
});

test("empty files are counted where there are no bytes to", () => {
  const empty = (state) => transfer(state, { file: new File([], "e") });
  equal(totals([empty(State.STORED), empty(State.WAITING)], new Rate()).total.percent, 50);
  equal(totals([], new Rate()).total.percent, 0);
});

test("what runs comes first, then what failed, stands still, waits and is done", () => {
  const order = new Order();
  const states = [State.STORED, State.WAITING, State.FAILED, State.PAUSED, State.UPLOADING];
  const all = states.map((s) => transfer(s, { isRunning: s === State.UPLOADING }));
  equal(order.of(all).map(({ state }) => state), [
    "uploading",
    "failed",
    "paused",
    "waiting",
    "stored",
  ]);
});

test("a file that begins takes the place of one that ended", () => {
  const order = new Order();
  const all = [0, 1, 2, 3].map((id) => transfer(State.UPLOADING, { id, isRunning: id < 3 }));
  all[3].state = State.WAITING;
  equal(order.of(all).map(({ id }) => id), [0, 1, 2, 3]);
  Object.assign(all[1], { state: State.STORED, isRunning: false });
  Object.assign(all[3], { state: State.UPLOADING, isRunning: true });
  equal(order.of(all).map(({ id }) => id), [0, 3, 2, 1]);
});

test("what was cancelled can be undone or made final", () => {
  const row = rowOf(transfer(State.PAUSING, { isLeaving: true }), "");
  equal([row.state, row.actions], ["leaving", ["undo", "leave"]]);
});

test("why something is not added is said in one sentence each", () => {
  equal(left({}), "");
  equal(left({ of: 0 }), "There is no file in what you chose.");
  equal(left({ listed: 1 }), "One file is in the list already.");
  equal(left({ listed: 2 }), "2 files are in the list already.");
  ok(left({ of: 0, unreadable: ["a", "b"] }).endsWith("and 1 more could not be read."));
  ok(left({ of: 0, emptyFolders: ["a"] }).endsWith("is an empty folder: only files are uploaded."));
  ok(left({ emptyFolders: ["a", "b"] }).includes("and 1 more are empty folders"));
});
