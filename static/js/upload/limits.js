// How much goes into one request. Sizes in bytes.

const LONGEST_ADDRESS = 3500; // characters; servers and proxies take some 4,000 at least

export class Limits {
  #oneRequest;
  #part;
  #leastPart;
  #pace;
  #lowered = null;

  /** `oneRequest`: the largest file in one request. `part`: the portal's size of parts, which
   *  clients may lower to `leastPart`. `pace`: how fast bodies go. */
  constructor({ oneRequest, part, leastPart, pace }) {
    this.#oneRequest = oneRequest;
    this.#part = part;
    this.#leastPart = leastPart;
    this.#pace = pace;
  }

  /** Whether a file is better sent in one request than in three. */
  fitOneRequest({ size, address }) {
    const most = Math.min(this.#oneRequest, this.#lowered ?? this.#part, this.#pace.wholeFile);
    return size <= most && address.length <= LONGEST_ADDRESS;
  }

  /** The size of parts to ask for; null: the portal's own choice. */
  partFor(size) {
    const wanted = Math.max(this.#leastPart, this.#pace.partFor(size));
    const most = this.#lowered ?? this.#part;
    return this.#lowered === null && wanted >= most ? null : Math.min(most, wanted);
  }

  /** After a proxy has refused a body of `bytes`; whether smaller ones are worth a try. */
  lower(bytes) {
    const now = this.#lowered ?? Math.max(this.#part, bytes);
    if (now < bytes) return true; // another file has learned it already
    if (bytes <= this.#leastPart) return false;
    this.#lowered = Math.max(this.#leastPart, Math.floor(bytes / 2));
    return true;
  }
}
