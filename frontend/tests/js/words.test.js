import { FileChanged, problem } from "/static/js/upload/errors.js";
import { Meter } from "/static/js/upload/meter.js";
import { Rate } from "/static/js/upload/rate.js";
import { rowOf } from "/static/js/upload/rows.js";
import { leftOut, shown, summary, totals } from "/static/js/upload/totals.js";
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
  equal([refused.canRetry, refused.canReplace, refused.problem], [true, false, "Why."]);
  const changed = rowOf(transfer(State.FAILED, { error: new FileChanged() }), "");
  equal([changed.canRetry, changed.canReplace], [false, true]);
  ok(changed.problem.includes("Choose it again."));
});

test("what can be done about a failure is said with it", () => {
  ok(rowOf(failed(404, "session_not_found"), "").problem.includes("from its beginning"));
  ok(rowOf(failed(410, "session_aborted"), "").problem.includes("another tab"));
  equal(rowOf(failed(400, "invalid_filename"), "").problem, "Why. Rename the file, then choose it again.");
});

test("a stored file links to its page", () => {
  const stored = { id: "f1", sha256: "ab" };
  const row = rowOf(transfer(State.STORED, { stored }), "/u/00000000-0000-0000-0000-000000000000/");
  equal([row.url, row.sha256, row.percent], ["/u/f1/", "ab", 100]);
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
  equal(title(State.FAILED), "0 of 1 file stored, 1 failed");
});

test("empty files are counted where there are no bytes to", () => {
  const empty = (state) => transfer(state, { file: new File([], "e") });
  equal(totals([empty(State.STORED), empty(State.WAITING)], new Rate()).total.percent, 50);
  equal(totals([], new Rate()).total.percent, 0);
});

test("what wants attention comes first, and what is not drawn is counted", () => {
  const all = [State.STORED, State.WAITING, State.FAILED, State.STORED].map((s) => transfer(s));
  const { drawn, others } = shown(all, { most: 3, isDrawn: () => false });
  equal(drawn.map(({ state }) => state), ["failed", "stored", "waiting"]);
  equal(summary(others), "and 1 more: 1 stored");
  equal(summary([]), "");
});

test("a file that takes long gets a row", () => {
  const running = (startedAt) => transfer(State.UPLOADING, { isRunning: true, startedAt });
  const all = [transfer(State.STORED), running(performance.now()), running(performance.now() - 3000)];
  const { drawn } = shown(all, { most: 2, isDrawn: ({ state }) => state === State.STORED });
  equal(drawn, [all[0], all[2]]);
});

test("few files stay in their order", () => {
  const all = [State.STORED, State.FAILED].map((state) => transfer(state));
  equal(shown(all, { most: 2, isDrawn: () => true }).drawn, all);
});

test("a row that is drawn stays, so that a file waiting elsewhere needs none", () => {
  const all = [State.WAITING, State.STORED, State.WAITING].map((s, id) => transfer(s, { id }));
  const { drawn } = shown(all, { most: 2, isDrawn: ({ id }) => id === 1 });
  equal(drawn.map(({ id }) => id), [0, 1]);
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
