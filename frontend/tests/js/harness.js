// A test runner of a page: test files register tests, `run` tells what became of them.

const PATIENCE_MS = 10_000;
const tests = [];

export function test(name, body) {
  tests.push({ name, body });
}

/** {passed: [name], failed: ["name: why"]} */
export async function run() {
  const passed = [];
  const failed = [];
  for (const { name, body } of tests) {
    try {
      localStorage.clear();
      await inTime(body());
      passed.push(name);
    } catch (error) {
      failed.push(`${name}: ${error.stack ?? error}`);
    }
  }
  return { passed, failed };
}

export function equal(actual, expected) {
  const [left, right] = [shown(actual), shown(expected)];
  if (left !== right) throw new Error(`${left} is not ${right}`);
}

export function ok(condition, why = "it is not so") {
  if (!condition) throw new Error(why);
}

/** The error that `promise` is rejected with. */
export async function rejected(promise) {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error("it was not rejected");
}

/** A signal that nothing aborts. */
export function unending() {
  return new AbortController().signal;
}

function shown(value) {
  return JSON.stringify(value, (_, inner) => (inner === undefined ? "(undefined)" : inner));
}

function inTime(promise) {
  const late = new Promise((_, reject) => {
    setTimeout(() => reject(new Error("it takes too long")), PATIENCE_MS);
  });
  return Promise.race([promise, late]);
}
