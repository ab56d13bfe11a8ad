import assert from "node:assert/strict";
import { test } from "node:test";
import { Pace } from "../../../agent/web/pace.js";

test("the first words are shown at once", () => {
  const pace = new Pace();
  pace.add(10, 1000);
  assert.equal(pace.at(1000), 10);
});

test("a frame's words are shown evenly until the next is expected, and never fall behind it", () => {
  const pace = new Pace();
  pace.add(10, 1000);
  pace.at(1000);
  pace.add(100, 1100);
  assert.deepEqual([1100, 1125, 1150, 1200].map((now) => pace.at(now)), [10, 35, 60, 110]);
  pace.add(100, 1200);
  assert.equal(pace.at(1250), 160);
  pace.add(40, 1250); // sooner than expected: what is left goes with it
  assert.deepEqual([1250, 1275, 1300].map((now) => pace.at(now)), [160, 205, 250]);
});

test("after a pause of the model nothing waits for long, and the clock may stand still", () => {
  const pace = new Pace();
  pace.add(1, 0);
  pace.at(0);
  pace.add(100, 60_000);
  assert.equal(pace.at(60_200), 101);
  pace.add(1, 60_000);
  assert.equal(pace.at(60_000), 102);
});
