// How fast bodies go to this portal, and what follows from it: parts so small and so few at once
// that a pause waits for seconds only. Sizes in bytes.

const UNDER_WAY_SECONDS = 8; // what all requests of a file together take at most
const MOST_AT_ONCE = 3; // parts of a file: a small file does not wait behind a large one
const LEAST = 256 * 2 ** 10; // smaller parts cost more than they save
const FIRST = 2 * 2 ** 20; // while nothing was measured
const LARGE = 256 * 2 ** 20; // a file that takes long enough for the portal's own size of parts

export class Pace {
  #perSecond = 0;
  #underWay = 0;

  /** To be called when a body begins to be sent; gives what is to be called when it has arrived. */
  begin(bytes, now = () => performance.now()) {
    this.#underWay += 1;
    const since = now();
    let isOver = false;
    return ({ hasArrived }) => {
      if (isOver) return;
      isOver = true;
      const others = this.#underWay;
      this.#underWay -= 1;
      if (hasArrived && bytes > 0) this.#note((others * 1000 * bytes) / Math.max(1, now() - since));
    };
  }

  get perSecond() {
    return this.#perSecond;
  }

  /** How many parts of this size are to be under way at once. */
  atOnce(part) {
    const fit = Math.floor((UNDER_WAY_SECONDS * this.#perSecond) / part);
    return Math.min(MOST_AT_ONCE, Math.max(1, fit));
  }

  /** The largest part for a file of this size. */
  partFor(size) {
    if (this.#perSecond === 0) return size > LARGE ? Infinity : FIRST;
    const most = (UNDER_WAY_SECONDS * this.#perSecond) / MOST_AT_ONCE;
    return Math.max(LEAST, 2 ** Math.floor(Math.log2(most)));
  }

  /** The largest file that is better sent in one request. */
  get wholeFile() {
    return this.#perSecond === 0 ? Infinity : this.partFor(0);
  }

  #note(perSecond) {
    this.#perSecond = this.#perSecond === 0 ? perSecond : (this.#perSecond + perSecond) / 2;
  }
}
