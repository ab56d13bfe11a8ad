// Server-sent events: from the text of a response, in pieces however it was cut.

import { createParser } from "./vendor/eventsource-parser.js";

export class EventDecoder {
  #found = [];
  #parser = createParser({ onEvent: (event) => this.#found.push(event) });

  // The events that are whole now: [id or null, data as JSON].
  decode(text) {
    this.#parser.feed(text);
    return this.#found.splice(0).map(({ id, data }) => [id ?? null, JSON.parse(data)]);
  }
}
