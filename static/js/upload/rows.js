// What the page says about one file.
import { size, timeLeft, visible } from "../format.js";
import { FileChanged } from "./errors.js";
import { State } from "./transfer.js";

const EMPTY_ID = "00000000-0000-0000-0000-000000000000";

export const LABELS = {
  [State.WAITING]: "Waiting",
  [State.PREPARING]: "Preparing",
  [State.UPLOADING]: "Uploading",
  [State.PAUSING]: "Pausing…",
  [State.PAUSED]: "Paused",
  [State.CHECKING]: "Checking",
  [State.HELD]: "Being checked",
  [State.STORED]: "Stored",
  [State.FAILED]: "Failed",
};

export const PAUSABLE = new Set([
  State.WAITING,
  State.PREPARING,
  State.UPLOADING,
  State.CHECKING,
]);

const LEAVING = "leaving"; // cancelled, but not for good yet

const WORDS = {
  other_file:
    "This is another file than the one whose upload was begun; what was kept of that stays. Retry sends this one as a new file.",
  session_not_found:
    "The server does not know this upload any more. Retry sends the file from its beginning.",
  session_aborted:
    "The upload was cancelled elsewhere, in another tab perhaps. Retry sends the file again.",
  part_differs:
    "The server has other bytes of this file from before, and gave them up. Retry sends all of it.",
  invalid_filename: "Rename the file, then choose it again.",
  invalid_relative_path: "Rename the file or its folders, then choose it again.",
};
const AFTER_THE_SERVERS = new Set(["invalid_filename", "invalid_relative_path"]);

/** `fileUrl` is the address of a file's page, with an id of zeros. */
export function rowOf(transfer, fileUrl) {
  const { file, state, stored, held, isLeaving } = transfer;
  const isFailed = state === State.FAILED;
  const isChanged = isFailed && transfer.error instanceof FileChanged;
  return {
    id: transfer.id,
    name: visible(file.name),
    path: visible(transfer.relativePath),
    state: isLeaving ? LEAVING : state,
    label: isLeaving ? "Cancelled" : LABELS[state],
    percent: state === State.STORED ? 100 : percent(transfer.sentBytes, file.size),
    detail: detail(transfer),
    problem: isLeaving ? "" : problem(transfer),
    url: (stored ?? held) ? fileUrl.replace(EMPTY_ID, (stored ?? held).id) : "",
    actions: isLeaving ? ["undo", "leave"] : actions(transfer, { isFailed, isChanged }),
  };
}

/** What can be done to it, as the names of the row's buttons. */
function actions({ state, wasStored }, { isFailed, isChanged }) {
  if (state === State.STORED) return wasStored ? ["restart", "remove"] : ["remove"];
  if (state === State.PAUSING) return ["stop", "cancel"];
  if (PAUSABLE.has(state)) return ["pause", "cancel"];
  if (state === State.PAUSED) return ["resume", "cancel"];
  if (isChanged) return ["replace", "cancel"];
  return isFailed ? ["retry", "cancel"] : ["cancel"];
}

export function percent(part, whole) {
  return whole ? Math.round((1000 * part) / whole) / 10 : 0;
}

function detail(transfer) {
  const { file, state, rate } = transfer;
  if (transfer.wasStored) return `${size(file.size)} · was stored already`;
  if (state === State.STORED || state === State.WAITING) return size(file.size);
  if (state === State.HELD) return `${size(file.size)} · stored once it is checked`;
  if (state === State.CHECKING) return `${size(file.size)} · verifying what arrived`;
  const parts = [`${size(transfer.sentBytes)} of ${size(file.size)}`];
  if (state === State.PAUSED && transfer.sentBytes > 0) parts.push("kept");
  if (state === State.UPLOADING && rate?.perSecond > 0) {
    parts.push(`${size(Math.round(rate.perSecond))}/s`);
    parts.push(timeLeft(rate.secondsFor(file.size - transfer.sentBytes)));
  }
  return parts.join(" · ");
}

function problem({ state, error, note, meter }) {
  if (state === State.FAILED) return reason(error);
  return note || (meter.isStalled ? "The server is not taking anything at the moment." : "");
}

function reason({ code, message }) {
  const words = WORDS[code];
  if (!words) return message;
  return AFTER_THE_SERVERS.has(code) ? `${message} ${words}` : words;
}
