import { relativeTime, size, timeLeft, visible } from "/static/js/format.js";
import { delay } from "/static/js/upload/backoff.js";
import { missingParts, parseRanges } from "/static/js/upload/ranges.js";
import { Rate } from "/static/js/upload/rate.js";
import { equal, ok, test } from "./harness.js";

test("sizes have three digits or so", () => {
  equal([0, 1023, 1024, 1536, 200 * 1024, 5 * 2 ** 30].map(size), [
    "0 B",
    "1023 B",
    "1.0 KiB",
    "1.5 KiB",
    "200 KiB",
    "5.0 GiB",
  ]);
});

test("what is left grows smaller without a jump", () => {
  equal([0.2, 59, 59.5, 61, 89, 91, 3569, 3571, 7300].map(timeLeft), [
    "1 s left",
    "59 s left",
    "1 min left",
    "1 min left",
    "1 min left",
    "2 min left",
    "59 min left",
    "1 h 0 min left",
    "2 h 2 min left",
  ]);
  equal(timeLeft(Infinity), "");
});

test("times are told from both sides of now", () => {
  equal([-5, -65, 3600 * 30, 20].map(relativeTime), [
    "just now",
    "1 minute ago",
    "in 1 day",
    "in a moment",
  ]);
});

test("what a name hides or breaks is shown as a mark", () => {
  equal(visible("gpj.\u202eexe"), "gpj.\ufffdexe");
  equal(visible("two\nlines\u0000"), "two\ufffdlines\ufffd");
  equal(visible("half \ud83d emoji"), "half \ufffd emoji");
  equal(visible("słońce 😀.bin"), "słońce 😀.bin");
});

test("ranges of parts are read and their gaps found", () => {
  equal([...parseRanges("1-3,5")], [1, 2, 3, 5]);
  equal([...parseRanges("")], []);
  equal(missingParts(6, parseRanges("1-3,5")), [4, 6]);
  equal(missingParts(0, new Set()), []);
});

test("waits grow, stay below half a minute, and are never shorter than the server asked", () => {
  equal([0, 1, 2].map((attempt) => delay(attempt, { random: () => 0 })), [250, 500, 1000]);
  equal([0, 1, 2].map((attempt) => delay(attempt, { random: () => 1 })), [500, 1000, 2000]);
  equal(delay(30, { random: () => 1 }), 30_000);
  equal(delay(0, { retryAfterSeconds: 90 }), 90_000);
});

test("a rate is smoothed over the last seconds", () => {
  const rate = new Rate();
  equal(rate.perSecond, 0);
  rate.add(0, 0);
  rate.add(100, 100);
  equal(rate.perSecond, 0); // too little to tell
  rate.add(2000, 1000);
  equal(rate.perSecond, 2000);
  equal(rate.secondsFor(4000), 2);
  for (let at = 2000; at <= 20_000; at += 1000) rate.add(2000, at);
  equal(rate.perSecond, 0);
  ok(rate.secondsFor(1) === Infinity);
  rate.clear();
  equal(rate.perSecond, 0);
});
