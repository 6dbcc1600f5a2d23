import { Access } from "/static/js/upload/access.js";
import { ApiError } from "/static/js/upload/errors.js";
import { Persistence } from "/static/js/upload/retry.js";
import { equal, ok, rejected, test, unending } from "./harness.js";

const busy = () => new ApiError({ status: 409, code: "part_in_progress", detail: "Busy." });
const loggedOut = () => new ApiError({ status: 401, code: "not_authenticated", detail: "Log in." });
const other = () => new ApiError({ status: 409, code: "account_changed", detail: "Another." });

/** Fails with each of `errors` in turn, then succeeds. */
function failing(...errors) {
  return async () => {
    if (errors.length > 0) throw errors.shift();
    return "done";
  };
}

function accessOf(renew) {
  const states = [];
  const access = new Access({ renew, onChange: (error) => states.push(error?.code ?? null) });
  return { access, states };
}

test("what passes is tried again and said meanwhile", async () => {
  const said = [];
  const persistence = new Persistence({ access: null, say: (note) => said.push(note) });
  const lost = new ApiError({ status: 0, detail: "Lost." });
  equal(await persistence.run(failing(busy(), lost), unending()), "done");
  equal(said, ["Lost. Trying again.", ""]);
});

test("what does not pass is not tried again", async () => {
  const persistence = new Persistence({ access: null });
  const error = new ApiError({ status: 507, code: "no_room", detail: "Full." });
  equal(await rejected(persistence.run(failing(error), unending())), error);
  const mistake = new TypeError("x is undefined");
  equal(await rejected(persistence.run(failing(mistake), unending())), mistake);
});

test("somebody who waits in vain gives up in the end", async () => {
  const persistence = new Persistence({ access: null, tries: 2 });
  const errors = [1, 2, 3, 4].map(busy);
  equal((await rejected(persistence.run(failing(...errors), unending()))).code, "part_in_progress");
});

test("an outage is waited for, however long it takes", async () => {
  const persistence = new Persistence({ access: null, tries: 0 });
  const outage = new ApiError({ status: 503, code: "server_busy", detail: "Busy." });
  equal(await persistence.run(failing(outage), unending()), "done");
});

test("a stop ends the waiting at once", async () => {
  const persistence = new Persistence({ access: null });
  const control = new AbortController();
  const running = persistence.run(failing(...Array.from({ length: 9 }, busy)), control.signal);
  control.abort(new Error("stop"));
  equal((await rejected(running)).message, "stop");
});

test("who is logged out waits for the log-in and goes on", async () => {
  let isIn = false;
  const { access, states } = accessOf(async () => {
    if (!isIn) throw loggedOut();
  });
  const persistence = new Persistence({ access });
  const running = persistence.run(failing(loggedOut()), unending());
  await Promise.resolve();
  access.lookAgain();
  await new Promise((resolve) => setTimeout(resolve));
  equal(states, ["not_authenticated", "not_authenticated"]);
  isIn = true;
  access.lookAgain();
  equal(await running, "done");
  equal(states.at(-1), null);
});

test("all that wait go on together, and the reason may change meanwhile", async () => {
  const answers = [other(), loggedOut()];
  const { access, states } = accessOf(async () => {
    if (answers.length) throw answers.shift();
  });
  const all = [1, 2, 3].map(() => access.regained(loggedOut(), unending()));
  for (let round = 0; round < 3; round += 1) {
    access.lookAgain();
    await new Promise((resolve) => setTimeout(resolve));
  }
  await Promise.all(all);
  equal(states, ["not_authenticated", "account_changed", "not_authenticated", null]);
});

test("a transfer that is stopped waits for no log-in", async () => {
  const { access } = accessOf(() => Promise.reject(loggedOut()));
  const control = new AbortController();
  const waiting = access.regained(loggedOut(), control.signal);
  control.abort(new Error("stop"));
  equal((await rejected(waiting)).message, "stop");
  ok((await rejected(access.regained(loggedOut(), control.signal))).message === "stop");
});
