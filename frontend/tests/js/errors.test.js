import { FileChanged, noAnswer, noAnswerInTime, problem } from "/static/js/upload/errors.js";
import { equal, ok, test } from "./harness.js";

const ours = (status, code) => problem(status, JSON.stringify({ code, detail: "Why." }), null);
const PAGE = "<html><h1>413 Request Entity Too Large</h1></html>";

test("an answer of the portal is told in its own words", () => {
  const error = problem(507, JSON.stringify({ code: "no_room", detail: "Full." }), "90");
  equal([error.status, error.code, error.message, error.retryAfter], [507, "no_room", "Full.", 90]);
});

test("an answer of a proxy is told as one", () => {
  ok(problem(413, PAGE, null).message.includes("client_max_body_size"));
  ok(problem(418, PAGE, null).message.includes("in front of the portal"));
  ok(problem(418, "null", null).message.includes("in front of the portal"));
  ok(problem(413, PAGE, null).isTooLargeForProxy);
  ok(!ours(413, "file_too_large").isTooLargeForProxy);
});

test("what may pass is tried again", () => {
  for (const status of [0, 408, 425, 429, 500, 502, 503, 504]) ok(ours(status, "x").isTransient);
  for (const code of ["part_in_progress", "finalize_in_progress"]) ok(ours(409, code).isTransient);
  ok(ours(422, "digest_mismatch").isTransient);
  for (const status of [400, 404, 409, 410, 413, 415, 422, 507]) ok(!ours(status, "x").isTransient);
  ok(noAnswer().isTransient);
  ok(noAnswerInTime().isTransient && noAnswerInTime().isLate);
});

test("being logged out is told from another account's log-in", () => {
  ok(ours(401, "not_authenticated").isLoggedOut);
  ok(ours(403, "csrf_failed").isLoggedOut);
  ok(ours(401, "visit_over").isLoggedOut); // of a guest's page
  ok(!ours(401, "grant_revoked").isNotOurs);
  const other = ours(409, "account_changed");
  ok(other.isNotOurs && !other.isLoggedOut);
  ok(!ours(403, "scope_missing").isNotOurs);
});

test("only what the file itself is refused for is final", () => {
  ok(ours(415, "type_not_allowed").isFinal);
  ok(ours(413, "file_too_large").isFinal);
  ok(ours(400, "invalid_filename").isFinal);
  ok(!problem(413, PAGE, null).isFinal);
  ok(!ours(507, "no_room").isFinal);
  ok(!new FileChanged().isFinal);
});
