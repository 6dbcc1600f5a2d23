// In which order the rows stand: what runs, what failed, what stands still, what waits, what is done.
import { State } from "./transfer.js";

const FAILED = 0;
const PAUSED = 1;
const WAITING = 2;
const DONE = 3;
const PLACES = {
  [State.FAILED]: FAILED,
  [State.PAUSED]: PAUSED,
  [State.WAITING]: WAITING,
  [State.HELD]: WAITING,
  [State.STORED]: DONE,
  [State.CANCELLED]: DONE,
};

export class Order {
  #running = [];

  /** One that begins takes the place of one that ended, so that no other row moves for it. */
  of(transfers) {
    const groups = [[], [], [], []];
    const begun = new Set();
    for (const transfer of transfers) {
      if (transfer.isRunning) begun.add(transfer);
      else groups[PLACES[transfer.state]].push(transfer);
    }
    const staying = new Set(this.#running.filter((transfer) => begun.has(transfer)));
    const fresh = [...begun].filter((transfer) => !staying.has(transfer));
    const places = this.#running.map((one) => (staying.has(one) ? one : fresh.shift()));
    this.#running = [...places, ...fresh].filter(Boolean);
    return [...this.#running, ...groups.flat()];
  }
}
