import assert from "node:assert/strict";
import { test } from "node:test";
import { distinct, leavesOf, versionsOf } from "../../../agent/web/branches.js";

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

test("a state is the end of a branch when nothing went on from it", () => {
  const after = (id, parent) => ({ checkpoint: { checkpoint_id: id }, parent_checkpoint: parent && { checkpoint_id: parent } });
  const history = [after("5", "2"), after("4", "3"), after("3", "2"), after("2", "1"), after("1", null)];
  assert.deepEqual(leavesOf(history).map(({ checkpoint }) => checkpoint.checkpoint_id), ["5", "4"]);
  assert.deepEqual(leavesOf(history.slice(0, 2)).length, 2); // the older ones are not known
});
