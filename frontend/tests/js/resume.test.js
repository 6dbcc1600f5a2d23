import { Memory, Ticket, newKey } from "/static/js/upload/resume.js";
import { equal, ok, test } from "./harness.js";

const item = (name = "a.txt") => ({
  file: new File(["x"], name, { lastModified: 5 }),
  relativePath: "",
});

test("the same file is recalled, another is not", () => {
  const memory = new Memory("ada");
  memory.remember(item(), { key: "k", batchId: null });
  const { key } = memory.recall(item());
  equal(key, "k");
  equal(memory.recall(item("b.txt")), null);
  equal(new Memory("bob").recall(item()), null);
  memory.forget(item());
  equal(memory.recall(item()), null);
});

test("no clock makes it forget: whether an entry holds is for the server to say", () => {
  const real = Date.now;
  try {
    Date.now = () => real() - 1000 * 24 * 3600 * 1000;
    new Memory("ada").remember(item(), { fileId: "f" });
  } finally {
    Date.now = real;
  }
  equal(new Memory("ada").recall(item()).fileId, "f");
});

test("entries of former versions, which had an end, are kept too", () => {
  const name = `doorito.upload.ada.${JSON.stringify(["a.txt", 1, 5, ""])}`;
  localStorage.setItem(name, JSON.stringify({ fileId: "f", batchId: null, at: 1, until: 2 }));
  equal(new Memory("ada").recall(item()).fileId, "f");
});

test("of very many the oldest are forgotten, stored ones apart from unfinished ones", () => {
  for (let number = 0; number < 510; number += 1) {
    const entry = { fileId: String(number), at: number };
    localStorage.setItem(`doorito.upload.ada.${number}`, JSON.stringify(entry));
  }
  localStorage.setItem("doorito.upload.ada.open", JSON.stringify({ key: "k", at: 0 }));
  localStorage.setItem("doorito.theme", "dark");
  new Memory("ada");
  equal(localStorage.length, 502);
  equal(localStorage.getItem("doorito.upload.ada.9"), null);
  ok(localStorage.getItem("doorito.upload.ada.10"));
  ok(localStorage.getItem("doorito.upload.ada.open"));
});

test("what somebody else wrote there is no reason to fail", () => {
  localStorage.setItem("doorito.upload.ada.x", "{");
  const memory = new Memory("ada");
  localStorage.setItem(`doorito.upload.ada.${JSON.stringify(["a.txt", 1, 5, ""])}`, "{");
  equal(memory.recall(item()), null);
});

test("a ticket holds its entry where the browser remembers nothing", () => {
  const deaf = { recall: () => null, remember: () => {}, forget: () => {} };
  const ticket = new Ticket(deaf, item());
  equal(ticket.entry, null);
  ticket.keep({ key: "k" });
  equal(ticket.entry, { key: "k" });
  ticket.forget();
  equal(ticket.entry, null);
});

test("keys are never the same", () => {
  equal(new Set(Array.from({ length: 100 }, newKey)).size, 100);
});
