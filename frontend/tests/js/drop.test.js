import { fromTransfer } from "/static/js/upload/drop.js";
import { equal, test } from "./harness.js";

const file = (name) => ({
  name,
  isDirectory: false,
  file: (resolve) => resolve(new File(["x"], name)),
});
const locked = (name) => ({
  name,
  isDirectory: false,
  file: (_, reject) => reject(new DOMException("no")),
});

/** A folder whose reader gives two entries at a time. */
function folder(name, ...entries) {
  return {
    name,
    isDirectory: true,
    createReader: () => {
      const left = [...entries];
      return { readEntries: (resolve) => resolve(left.splice(0, 2)) };
    },
  };
}

function dropped(...entries) {
  return {
    items: entries.map((entry) => ({
      kind: "file",
      webkitGetAsEntry: () => entry,
      getAsFile: () => (entry.isDirectory ? null : new File(["x"], entry.name)),
    })),
  };
}

const paths = ({ items }) => items.map(({ relativePath }) => relativePath);

test("folders are walked to their last file", async () => {
  const trip = folder("trip", file("1"), file("2"), file("3"), folder("sea", file("4")));
  equal(paths(await fromTransfer(dropped(trip))), ["trip/1", "trip/2", "trip/3", "trip/sea/4"]);
});

test("a file by itself has no path, and its entry tells later what it is like", async () => {
  const entry = file("a.txt");
  const { items } = await fromTransfer(dropped(entry));
  equal([items[0].file.name, items[0].relativePath], ["a.txt", ""]);
  equal(items[0].entry === entry, true);
});

test("what cannot be read is named and costs the others nothing", async () => {
  const shut = { ...folder("shut"), createReader: () => ({ readEntries: (_, no) => no(new Error()) }) };
  const found = await fromTransfer(dropped(folder("trip", locked("a"), file("b"), shut)));
  equal(paths(found), ["trip/b"]);
  equal(found.unreadable, ["trip/a", "trip/shut"]);
  equal(found.emptyFolders, []);
});

test("empty folders are named, since only files are uploaded", async () => {
  const found = await fromTransfer(dropped(folder("trip", file("a"), folder("none"))));
  equal([paths(found), found.emptyFolders], [["trip/a"], ["trip/none"]]);
});
