// The other versions of a thread's messages and answers, from states of its branches. Pure.

// Where the present messages have others in their place: [{ at, number, others }], with the index `at` of
// the message, the `number` of the one that is shown, from 1, and for each version a state that ends
// with it: the last one of `states`, which come oldest first. The present state is among them.
export function versionsOf(states, present) {
  const lists = states.map(idsOf);
  const shown = idsOf(present);
  const messages = messagesOf(present);
  const found = [];
  messages.forEach(({ type }, at) => {
    const isAnswer = type === "ai" && messages[at - 1]?.type === "human";
    if (type !== "human" && !isAnswer) return;
    const versions = new Map();
    states.forEach((state, n) => {
      const isBeside = messagesOf(state)[at]?.type === type && shown.slice(0, at).every((id, k) => lists[n][k] === id);
      if (isBeside) versions.set(lists[n][at], state);
    });
    const number = [...versions.keys()].indexOf(shown[at]) + 1;
    if (versions.size > 1 && number) found.push({ at, number, others: [...versions.values()] });
  });
  return found;
}

// The states that nothing went on from; `history` is the newest states of all branches.
export function leavesOf(history) {
  const parents = new Set(history.map((state) => state.parent_checkpoint?.checkpoint_id));
  return history.filter((state) => !parents.has(state.checkpoint.checkpoint_id));
}

// One state for each list of messages: the last one.
export function distinct(states) {
  return [...new Map(states.map((state) => [idsOf(state).join(), state])).values()];
}

const messagesOf = (state) => state.values?.messages ?? [];
const idsOf = (state) => messagesOf(state).map(({ id }) => id);
