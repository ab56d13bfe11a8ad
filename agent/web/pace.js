// How much of a text is to be shown: what comes together, as a frame of several words, is shown evenly
// over the time until the next is expected. Pure.

const LONGEST_MS = 200;

export class Pace {
  #shown = 0; // characters
  #from = 0;
  #arrived = 0;
  #lastAt = null;
  #start = 0;
  #end = 0;

  // `length` characters more, at this time in milliseconds: the next ones take about as long as these took.
  add(length, now) {
    const waitMs = this.#lastAt === null ? 0 : Math.min(now - this.#lastAt, LONGEST_MS);
    this.#from = this.#shown;
    this.#arrived += length;
    [this.#lastAt, this.#start, this.#end] = [now, now, now + waitMs];
  }

  // How many characters are to be shown now.
  at(now) {
    const part = now >= this.#end ? 1 : Math.max(0, now - this.#start) / (this.#end - this.#start);
    this.#shown = Math.max(this.#shown, Math.floor(this.#from + (this.#arrived - this.#from) * part));
    return this.#shown;
  }
}
