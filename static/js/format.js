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
  if (seconds < 60) return `${Math.max(1, Math.ceil(seconds))} s left`;
  if (seconds < 3600) return `${Math.ceil(seconds / 60)} min left`;
  return `${Math.floor(seconds / 3600)} h ${Math.ceil((seconds % 3600) / 60)} min left`;
}

export function count(number, noun) {
  return `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
}
