import assert from "node:assert/strict";
import { test } from "node:test";
import { EventDecoder } from "../../../agent/web/server-events.js";

const STREAM = 'id: 1\ndata: {"a": "ü\\n"}\n\n: heartbeat\n\nid: 2\nevent: x\ndata: {"b":\ndata: 2}\n\ndata:{"c": 3}\n\nid: 4\n\ndata: {"half"';
const EVENTS = [["1", { a: "ü\n" }], ["2", { b: 2 }], [null, { c: 3 }]];

for (const end of ["\n", "\r\n", "\r"]) {
  test(`events with lines that end in ${JSON.stringify(end)}, however they are cut`, () => {
    const text = STREAM.replaceAll("\n", end);
    for (let size = 1; size < text.length; size += 1) {
      const decoder = new EventDecoder();
      const found = [];
      for (let at = 0; at < text.length; at += size) found.push(...decoder.decode(text.slice(at, at + size)));
      assert.deepEqual(found, EVENTS);
    }
  });
}
