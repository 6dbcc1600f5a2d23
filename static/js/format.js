// Numbers for people. `size` and `relativeTime` say the same as the server's template filters.

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
const SPANS = [["day", 86400], ["hour", 3600], ["minute", 60]];

export function size(bytes) {
  let amount = bytes;
  let unit = 0;
  while (amount >= 1024 && unit < UNITS.length - 1) {
    amount /= 1024;
    unit += 1;
  }
  return unit === 0 ? `${bytes} B` : `${amount.toFixed(amount < 100 ? 1 : 0)} ${UNITS[unit]}`;
}

export function relativeTime(seconds) {
  const distance = Math.abs(seconds);
  for (const [unit, length] of SPANS) {
    if (distance < length) continue;
    const count = Math.floor(distance / length + (seconds > 0 ? 0.5 : 0));
    const span = `${count} ${unit}${count === 1 ? "" : "s"}`;
    return seconds > 0 ? `in ${span}` : `${span} ago`;
  }
  return seconds > 0 ? "in a moment" : "just now";
}

export function timeLeft(seconds) {
  if (!Number.isFinite(seconds)) return "";
  const whole = Math.max(1, Math.ceil(seconds));
  const minutes = Math.round(whole / 60);
  if (whole < 60) return `${whole} s left`;
  if (minutes < 60) return `${minutes} min left`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min left`;
}

const HIDDEN = /[\p{Cc}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;

/** Replaces control characters that turn or break the surrounding text, and lone surrogates, by a
 *  mark. */
export function visible(name) {
  return name.toWellFormed().replace(HIDDEN, "\ufffd");
}

/** The same for use in a sentence: isolates the name's direction (FSI, PDI, Unicode UAX #9). */
export function isolated(name) {
  return `\u2068${visible(name)}\u2069`;
}

export function count(number, noun) {
  return `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
}
