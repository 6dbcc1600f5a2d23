import { FileChanged } from "/static/js/upload/errors.js";
import { Source, hex } from "/static/js/upload/source.js";
import { equal, ok, rejected, test } from "./harness.js";

const file = (content, lastModified = 1000) => new File([content], "a.txt", { lastModified });
const entryOf = (now) => ({ file: (resolve) => resolve(now) });

test("a slice comes with the digest of what is sent", async () => {
  const { body, digest } = await new Source(file("0123456789")).read(2, 5);
  equal(new TextDecoder().decode(body), "234");
  equal(hex(digest), hex(await crypto.subtle.digest("SHA-256", new TextEncoder().encode("234"))));
});

test("a slice that is shorter than it should be is no part of this file", async () => {
  ok((await rejected(new Source(file("01234")).read(0, 9))) instanceof FileChanged);
});

test("what cannot be read any more has changed", async () => {
  const gone = { slice: () => new Blob(), lastModified: 0, size: 1 };
  gone.slice = () => ({ size: 1, arrayBuffer: () => Promise.reject(new DOMException("gone")) });
  const source = new Source(gone);
  ok((await rejected(source.read(0, 1))) instanceof FileChanged);
  ok((await rejected(source.requireReadable())) instanceof FileChanged);
});

test("an unchanged file is read again without a complaint", async () => {
  const whole = file("0123456789");
  const source = new Source(whole, { entry: entryOf(whole) });
  await source.read(0, 5);
  await source.read(5, 10);
  await source.requireUnchanged();
});

test("another time or size of the dropped file tells that it changed", async () => {
  for (const now of [file("01234", 1001), file("012345")]) {
    const source = new Source(file("01234"), { entry: entryOf(now) });
    ok((await rejected(source.requireUnchanged())) instanceof FileChanged);
  }
});

test("a dropped file that is gone has changed", async () => {
  const entry = { file: (_, reject) => reject(new DOMException("gone")) };
  const source = new Source(file("01234"), { entry });
  ok((await rejected(source.requireUnchanged())) instanceof FileChanged);
});

test("other bytes under the same time and size tell that it changed", async () => {
  const contents = ["old", "new"].map((text) => new Blob([text]));
  const sly = { size: 3, lastModified: 0, slice: (...range) => contents[0].slice(...range) };
  const source = new Source(sly);
  await source.read(0, 3);
  await source.requireUnchanged();
  contents.shift();
  ok((await rejected(source.requireUnchanged())) instanceof FileChanged);
});

/** A file of many parts, of which one part is other than it was. */
async function partly({ changed, lastModified, parts = 300 }) {
  const PART = 2 ** 20;
  const zeros = new Blob([new Uint8Array(PART)]);
  const other = new Blob([new Uint8Array(PART).fill(1)]);
  let isChanged = false;
  const sly = {
    size: parts * PART,
    lastModified,
    slice: (start, end) => (isChanged && start === changed * PART ? other : zeros).slice(0, end - start),
  };
  const source = new Source(sly, { now: 1_000_000 });
  for (let number = 0; number < parts; number += 1) {
    await source.read(number * PART, (number + 1) * PART);
  }
  isChanged = true;
  return source;
}

test("of a very large file some parts are read again, the first and the last among them", async () => {
  for (const changed of [0, 299]) {
    const source = await partly({ changed, lastModified: 0 });
    ok((await rejected(source.requireUnchanged())) instanceof FileChanged);
  }
});

test("a very large file that was just written when it was chosen is read again whole", async () => {
  const source = await partly({ changed: 4, lastModified: 999_000 });
  ok((await rejected(source.requireUnchanged())) instanceof FileChanged);
});
