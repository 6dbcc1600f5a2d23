// Uploads that were begun and are not whole: the server keeps what arrived, and needs the file again.
import { size, visible } from "../format.js";

/** The session that goes on with a chosen file. */
export function keptFor({ file, relativePath }, kept) {
  return kept.find(
    (session) =>
      isSame(session.filename, file.name) &&
      session.size_bytes === file.size &&
      isSame(session.relative_path, relativePath),
  );
}

/** What the page says about one. */
export function keptRow({ session_id: id, filename, received_bytes: bytes, size_bytes: whole }) {
  return {
    id,
    name: visible(filename),
    detail: `${size(bytes)} of ${size(whole)} kept: choose the file again`,
    percent: whole ? (100 * bytes) / whole : 0,
  };
}

function isSame(one, other) {
  return one.normalize("NFC") === other.normalize("NFC");
}
