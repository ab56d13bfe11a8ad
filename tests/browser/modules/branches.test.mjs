import assert from "node:assert/strict";
import { test } from "node:test";
import { distinct, versionsOf } from "../../../agent/web/branches.js";

// A state by its messages' ids: "h..." is a person's, "a..." the model's, "t..." a tool's.
const types = { h: "human", a: "ai", t: "tool" };
const state = (ids) => ({ values: { messages: ids.split(" ").filter(Boolean).map((id) => ({ id, type: types[id[0]] })) } });
const found = (states, present) => versionsOf([...states, present], present).map(({ at, number, others }) => [at, number, others.length]);

test("a thread without branches has one version of everything", () => {
  assert.deepEqual(found([], state("h1 a1 h2 a2")), []);
  assert.deepEqual(found([state("h1 a1")], state("h1 a1 h2 a2")), []); // an earlier state is no branch
});

test("an answer and a question that have others in their place", () => {
  assert.deepEqual(found([state("h1 a1")], state("h1 a2 h2 a3")), [[1, 2, 2]]);
  assert.deepEqual(found([state("h1 a1 h2 a2")], state("h3 a3")), [[0, 2, 2]]);
  assert.deepEqual(found([state("h1 a1 h2 a2"), state("h1 a1 h2 a4"), state("h1 a1 h3 a5")], state("h1 a1 h2 a2")), [[2, 1, 2], [3, 1, 2]]);
});

test("what is beside another message is not counted", () => {
  assert.deepEqual(found([state("h1 a1 h2 a2")], state("h3 a3 h2 a4")), [[0, 2, 2]]);
  assert.deepEqual(found([state("h1 a1 h2")], state("h1 a1 t1 h2 a2")), []); // a result that was added
});

test("each version leads to the last state that has it", () => {
  const states = [state("h1 a1"), state("h1 a2"), state("h1 a2 h2 a3"), state("h1 a4")];
  const [{ others }] = versionsOf(states, states[3]);
  assert.deepEqual(others, [states[0], states[2], states[3]]);
  assert.deepEqual(distinct([state("h1 a1"), states[1], state("h1 a1")]).length, 2);
});
