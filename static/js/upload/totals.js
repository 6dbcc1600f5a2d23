// What the page says about all files together.
import { count, isolated, size, timeLeft } from "../format.js";
import { PAUSABLE, percent } from "./rows.js";
import { State } from "./transfer.js";

/** The sum of all rows and what can be done to all; `rate` is that of the whole page. */
export function totals(all, rate) {
  const of = (...states) => all.filter(({ state }) => states.includes(state));
  const bytes = all.reduce((sum, { file }) => sum + file.size, 0);
  const sent = all.reduce((sum, transfer) => sum + sentOf(transfer), 0);
  const stored = of(State.STORED).length;
  const failed = of(State.FAILED).length;
  const paused = of(State.PAUSED).length;
  const pausing = of(State.PAUSING).length;
  const held = of(State.HELD).length;
  const running = of(State.PREPARING, State.UPLOADING, State.CHECKING).length;
  const isOver = all.every((transfer) => transfer.isOver);
  if (running + pausing) rate.add(all.reduce((sum, { meter }) => sum + meter.moved, 0));
  else rate.clear();
  return {
    total: {
      files: all.length,
      stored,
      failed,
      percent: bytes ? percent(sent, bytes) : percent(stored, all.length),
      text: progress({ sent, bytes, left: bytesLeft(all), rate }),
      isOver,
      title: title({ all: all.length, stored, failed, paused, pausing, running, held }),
    },
    can: {
      pause: of(...PAUSABLE).length > 1,
      resume: paused > 1,
      retry: failed > 1,
      clear: stored > 0,
    },
  };
}

/** Why some or all of what was chosen is not added; empty when all of it is. */
export function leftOut({ listed, of, unreadable, emptyFolders }) {
  const reasons = [];
  const found = of + unreadable.length + emptyFolders.length;
  if (found === 0) reasons.push("There is no file in what you chose.");
  if (listed === 1) reasons.push("One file is in the list already.");
  if (listed > 1) reasons.push(`${listed} files are in the list already.`);
  if (unreadable.length) reasons.push(`${named(unreadable)} could not be read.`);
  if (emptyFolders.length) {
    const are = emptyFolders.length > 1 ? "are empty folders" : "is an empty folder";
    reasons.push(`${named(emptyFolders)} ${are}: only files are uploaded.`);
  }
  return reasons.join(" ");
}

function named(paths) {
  const others = paths.length > 1 ? ` and ${paths.length - 1} more` : "";
  return `${isolated(paths[0])}${others}`;
}

function sentOf(transfer) {
  return transfer.state === State.STORED ? transfer.file.size : transfer.sentBytes;
}

/** The bytes still to be sent by unfinished transfers; failed ones do not count. */
function bytesLeft(all) {
  return all
    .filter(({ isOver }) => !isOver)
    .reduce((sum, { file, sentBytes }) => sum + file.size - sentBytes, 0);
}

function progress({ sent, bytes, left, rate }) {
  const parts = [`${size(sent)} of ${size(bytes)}`];
  const speed = rate.perSecond;
  if (speed > 0 && left > 0) {
    parts.push(`${size(Math.round(speed))}/s`, timeLeft(rate.secondsFor(left)));
  }
  return parts.join(" · ");
}

function title({ all, stored, failed, paused, pausing, running, held }) {
  if (stored === all) return all === 1 ? "The file is stored" : `All ${all} files are stored`;
  const done = `${stored} of ${count(all, "file")} stored`;
  if (running) return done;
  if (held) return `${done}, ${held} being checked`;
  if (pausing) return `${done}, pausing`;
  if (paused) return `${done}, paused`;
  return failed ? `${done}, ${failed} failed` : done;
}
