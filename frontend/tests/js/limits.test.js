import { Limits } from "/static/js/upload/limits.js";
import { Meter } from "/static/js/upload/meter.js";
import { Pace } from "/static/js/upload/pace.js";
import { Slots } from "/static/js/upload/slots.js";
import { equal, ok, rejected, test, unending } from "./harness.js";

const KIB = 1024;
const limits = () => new Limits({ oneRequest: 50 * KIB, part: 8 * KIB, leastPart: 2 * KIB, pace: new Pace() });
const fits = (of, size, length = 100) =>
  of.fitOneRequest({ size, address: "x".repeat(length) });

test("a file that fits one part goes in one request", () => {
  ok(fits(limits(), 0));
  ok(fits(limits(), 8 * KIB));
  ok(!fits(limits(), 8 * KIB + 1));
});

test("one request takes no more than the portal says", () => {
  const small = new Limits({ oneRequest: 3, part: 8, leastPart: 1, pace: new Pace() });
  ok(fits(small, 3));
  ok(!fits(small, 4));
});

test("a name that makes the address too long for proxies goes into a body", () => {
  ok(fits(limits(), 1, 3500));
  ok(!fits(limits(), 1, 3501));
});

test("a proxy's refusals halve the parts, down to the least", () => {
  const learned = limits();
  equal(learned.partFor(KIB), null);
  equal([learned.lower(8 * KIB), learned.partFor(KIB)], [true, 4 * KIB]);
  ok(!fits(learned, 8 * KIB));
  ok(fits(learned, 4 * KIB));
  equal([learned.lower(4 * KIB), learned.partFor(KIB)], [true, 2 * KIB]);
  equal([learned.lower(2 * KIB), learned.partFor(KIB)], [false, 2 * KIB]);
});

test("what one file has learned is not lowered again by another that was refused before", () => {
  const learned = limits();
  learned.lower(8 * KIB);
  equal([learned.lower(8 * KIB), learned.partFor(KIB)], [true, 4 * KIB]);
});

test("a part that the portal made larger than usual is halved too", () => {
  const learned = limits();
  equal([learned.lower(64 * KIB), learned.partFor(KIB)], [true, 32 * KIB]);
});

test("parts are as large and as many as some seconds let through", () => {
  const pace = new Pace();
  equal([pace.atOnce(8 * KIB), pace.partFor(0), pace.partFor(2 ** 40)], [1, 2 * KIB * KIB, Infinity]);
  let now = 0;
  const end = pace.begin(2 * KIB * KIB, () => now);
  now = 2000;
  end({ hasArrived: true });
  end({ hasArrived: true }); // counts once
  equal(pace.perSecond, KIB * KIB);
  equal([pace.partFor(0), pace.wholeFile], [2 * KIB * KIB, 2 * KIB * KIB]);
  equal([8, 4, 1].map((mib) => pace.atOnce(mib * KIB * KIB)), [1, 2, 3]);
  pace.begin(5, () => now)({ hasArrived: false }); // what broke off tells nothing
  equal(pace.perSecond, KIB * KIB);
  const fast = { oneRequest: 2 ** 30, part: 8 * KIB, leastPart: 2 * KIB, pace };
  equal(new Limits(fast).partFor(2 ** 30), null);
  equal(new Limits({ ...fast, part: 8 * KIB * KIB }).partFor(2 ** 30), 2 * KIB * KIB);
});

test("at most so many actions run at a time, in their order", async () => {
  const slots = new Slots(2);
  const log = [];
  const gates = [1, 2, 3].map(() => Promise.withResolvers());
  const action = (number) =>
    slots.with(unending(), async () => {
      log.push(`begin ${number}`);
      await gates[number].promise;
      log.push(`end ${number}`);
    });
  const all = [0, 1, 2].map(action);
  await Promise.resolve();
  equal(log, ["begin 0", "begin 1"]);
  gates[1].resolve();
  await all[1];
  await Promise.resolve();
  equal(log, ["begin 0", "begin 1", "end 1", "begin 2"]);
  gates[0].resolve();
  gates[2].resolve();
  await Promise.all(all);
});

test("who gives up waiting for a slot takes none", async () => {
  const slots = new Slots(1);
  const first = Promise.withResolvers();
  const holding = slots.with(unending(), () => first.promise);
  const control = new AbortController();
  const waiting = slots.with(control.signal, () => "never");
  control.abort(new Error("enough"));
  equal((await rejected(waiting)).message, "enough");
  first.resolve();
  await holding;
  equal(await slots.with(unending(), async () => "free again"), "free again");
});

test("a slot is given back by an action that fails", async () => {
  const slots = new Slots(1);
  await rejected(slots.with(unending(), () => Promise.reject(new Error("no"))));
  equal(await slots.with(unending(), async () => "free"), "free");
});

test("a meter counts what is there, what is under way, and what this page moved", () => {
  const meter = new Meter();
  meter.begin(100);
  meter.progress(1, 30);
  meter.progress(2, 5);
  equal([meter.sent, meter.moved], [135, 35]);
  meter.arrived(40);
  meter.ended(1);
  equal([meter.sent, meter.moved], [145, 45]);
  meter.stop();
  equal([meter.sent, meter.moved, meter.isStalled], [140, 40, false]);
});
