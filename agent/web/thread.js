// The thread that is shown: from its state, kept up with whoever else goes on with it, and its past.

import * as api from "./api.js";
import { distinct, leavesOf, versionsOf } from "./branches.js";
import { textOf, titleOf } from "./content.js";
import { eventsOf } from "./conversation.js";
import { byId, element } from "./dom.js";
import { scrollPosition, scrollTo, show, tell, turnList, welcome } from "./log.js";
import { timeOf } from "./times.js";
import { join } from "./turn.js";
import { Turns } from "./turns.js";

export class Thread {
  constructor({ composer, inspector, list }) {
    this.composer = composer;
    this.list = list;
    this.turns = new Turns(this, composer, inspector);
    this.tabs = new BroadcastChannel("steadystream");
    this.tabs.addEventListener("message", ({ data }) => {
      if (data.title) this.list.add(data.threadId, data.title);
      this.list.refresh();
      if (data.threadId === this.id) this.lookAgain();
    });
    this.#begin(null);
  }

  // What is shown is the thread that the next message goes to.
  #begin(id) {
    this.id = id;
    this.checkpoint = null; // of what is shown; undefined: it is more than the thread holds
    this.version = null; // of the thread, when what is shown was fetched
    this.isWhole = id === null; // all of the thread is shown
    this.metadata = {};
    this.branchEnds = new Map(); // checkpoint id -> outline of the state, of branches that were left
    this.leaves = []; // checkpoint ids of those that other programs left
    turnList.replaceChildren();
  }

  startNew() {
    this.turns.leave();
    this.#begin(null);
    this.#forget();
    history.replaceState(null, "", location.pathname);
    this.list.mark(null);
    welcome();
  }

  open(id) {
    this.turns.leave();
    this.#begin(id);
    return this.#load();
  }

  // From the thread's state; what an active run has written so far comes from its stream.
  async #load({ isUpdate = false } = {}) {
    const { id, turns } = this;
    const position = isUpdate ? scrollPosition() : null;
    turns.leave();
    welcome();
    this.#forget();
    this.list.mark(id);
    try {
      const [[thread, state], active] = await Promise.all([threadAndState(id), api.activeRun(id)]);
      if (this.id !== id || turns.running) return;
      const last = this.#render(state, active, thread.status);
      scrollTo(position);
      this.metadata = thread.metadata ?? {};
      this.isWhole = true;
      const isUnfinished = !active && state.tasks?.length > 0 && !state.interrupts?.length;
      this.version = isUnfinished ? null : versionOf(thread); // a stopped run may be about to write what it keeps
      this.checkpoint = checkpointOf(state);
      if (active) await turns.read(join(id, active.run_id), () => this.open(id), last?.cards);
      else {
        if (isUnfinished) this.#offerToContinue();
        await this.#readBranchEnds(state);
        await this.#showVersions(state);
      }
    } catch (error) {
      if (this.id === id && !isUpdate) tell(error, ["Load again", () => this.open(id)]);
    }
  }

  #render(state, active, status) {
    turnList.replaceChildren();
    let messages = state.values?.messages ?? [];
    const newMessage = active?.kwargs?.input?.messages?.[0];
    if (active) messages = before(messages, newMessage);
    let answer = null;
    let asked = null; // whose answer comes next
    let finishReason = null;
    for (const each of messages) {
      if (each.type === "human") {
        answer?.note(finishReason);
        answer = finishReason = null;
        asked = this.turns.question(each.content);
        asked.editable(each.id);
        show(asked.root);
      } else if (each.type === "ai" || each.type === "tool") {
        answer ??= this.#settled();
        for (const event of eventsOf(each)) answer.take(event);
        asked?.actions.writtenAt(timeOf(each.id));
        asked = null;
        finishReason = each.response_metadata?.finish_reason;
      }
    }
    if (newMessage) show(this.turns.question(newMessage.content).root);
    if (active) return newMessage ? null : answer; // a run without a message goes on with this answer
    const isStopped = status === "interrupted" && !state.interrupts?.length;
    if (isStopped && messages.length) answer ??= this.#settled();
    answer?.note(isStopped ? "stopped" : finishReason);
    for (const { id, value } of state.interrupts ?? []) {
      (answer ??= this.#settled()).take({ type: "interrupt", id, requests: value });
    }
    if (answer && !state.interrupts?.length) answer.offerAgain();
    return answer;
  }

  #settled() {
    const answer = this.turns.answer().settle();
    show(answer.outer);
    return answer;
  }

  #offerToContinue() {
    this.#settled().take({ type: "error", code: "run_lost", message: "This was not finished." });
  }

  #forget() {
    this.composer.notice();
    byId("history").replaceChildren();
  }

  // ---- what its turns call

  began(id, isFork) {
    if (isFork && this.checkpoint) this.#leaveBranch(this.checkpoint);
    if (this.id !== id) {
      this.id = id;
      history.replaceState(null, "", `#${id}`);
      const title = titleOf(this.turns.shownQuestions()[0]?.content ?? "");
      this.list.add(id, title);
      this.tabs.postMessage({ threadId: id, title });
      // until the run has ended the thread holds no message, and none of its images is to go with a list
      api.setMetadata(id, { title }).catch(() => {});
    } else this.tabs.postMessage({ threadId: id });
    this.list.mark(id);
    this.list.refresh();
  }

  // Returns the thread's state, where it was read for this turn.
  async ended(answer, isLast) {
    this.tabs.postMessage({ threadId: this.id });
    const refreshed = this.list.refresh();
    let state;
    // a message was quicker than the thread that it went to
    if (isLast() && !this.isWhole) await this.#load({ isUpdate: true });
    else if (isLast()) state = await this.#settle(answer, isLast);
    await refreshed;
    return state;
  }

  // What is shown is now what the thread holds: it can be said differently, and answered anew.
  async #settle(answer, isLast) {
    const [thread, state] = await threadAndState(this.id);
    if (!isLast()) return undefined;
    this.version = versionOf(thread);
    this.checkpoint = checkpointOf(state);
    this.metadata = { ...thread.metadata, forks: this.metadata.forks };
    const ids = (state.values?.messages ?? []).filter(({ type }) => type === "human").map(({ id }) => id);
    this.turns.shownQuestions().forEach((question, at) => ids[at] && question.editable(ids[at]));
    if (!state.interrupts?.length) answer.offerAgain();
    await this.#showVersions(state);
    return state;
  }

  // ---- its branches

  // The end of a branch is noted with the thread, so that every tab can come back to it.
  async #leaveBranch(checkpoint) {
    const forks = [...new Set([...(this.metadata.forks ?? []), checkpoint])].slice(-MOST_FORKS);
    this.metadata = { ...this.metadata, forks };
    await api.setMetadata(this.id, { forks }).catch(() => {}); // the inspector's history has it, too
  }

  // Those that other programs left: of the newest states, as many as are not too much to read.
  async #readBranchEnds(present) {
    const { id } = this;
    const most = Math.min(MOST_STATES, Math.floor(MOST_PAST_CHARACTERS / JSON.stringify(present.values ?? {}).length));
    const states = most > 1 ? await api.history(id, most, ["checkpoint", "parent_checkpoint"]).catch(() => []) : [];
    const leaves = leavesOf(states).map(checkpointOf);
    if (this.id === id) this.leaves = leaves.filter((checkpoint) => checkpoint !== checkpointOf(present));
  }

  async #showVersions(present) {
    const { id } = this;
    const left = new Set([...(this.metadata.forks ?? []), ...this.leaves]);
    const unknown = [...left].filter((checkpoint) => !this.branchEnds.has(checkpoint));
    const states = await Promise.all(unknown.map((checkpoint) => api.outline(id, checkpoint).catch(() => null)));
    if (this.id !== id || this.turns.isWriting) return;
    unknown.forEach((checkpoint, at) => states[at] && this.branchEnds.set(checkpoint, states[at]));
    const ends = [...this.branchEnds.keys()].sort().map((checkpoint) => this.branchEnds.get(checkpoint));
    const messages = present.values?.messages ?? [];
    const questions = this.turns.shownQuestions();
    for (const { at, number, others } of versionsOf(distinct([...ends, present]), present)) {
      const count = messages.slice(0, at + 1).filter(({ type }) => type === "human").length;
      const question = questions[count - 1];
      const of = messages[at].type === "human" ? question : this.turns.answerTo(question);
      of?.actions.choose(number, others.length, (n) => this.#switchTo(others[n], present, of));
    }
  }

  // The branch becomes the thread's present: the next message goes on from it, in every tab.
  async #switchTo(state, present, { kind, actions }) {
    if (this.turns.isWriting) return;
    const place = [...turnList.querySelectorAll(".versions:not([hidden])")].indexOf(actions.versions);
    const label = document.activeElement.getAttribute("aria-label");
    try {
      await this.#leaveBranch(checkpointOf(present));
      await api.goTo(this.id, checkpointOf(state));
      await this.#load({ isUpdate: true });
    } catch (error) {
      tell(error);
    }
    const versions = turnList.querySelectorAll(".versions:not([hidden])")[place];
    const buttons = [...(versions?.querySelectorAll("button") ?? [])];
    (buttons.find((button) => !button.disabled && button.getAttribute("aria-label") === label) ?? buttons.find((button) => !button.disabled))?.focus();
  }

  // A run that failed may have written more than the thread holds: it stays until the thread changes.
  lost() {
    this.checkpoint = undefined;
  }

  // Another tab, or another person's program, may have gone on with the thread.
  async lookAgain() {
    const { id, turns } = this;
    if (!id || turns.running || document.hidden || this.composer.isElsewhere) return;
    try {
      const version = versionOf(await api.thread(id));
      if (version === this.version || id !== this.id || turns.running) return;
      const now = checkpointOf(await api.outline(id));
      if (id !== this.id || turns.running) return;
      const isNew = this.checkpoint !== undefined && now !== this.checkpoint;
      if (isNew) return await this.#load({ isUpdate: true });
      this.checkpoint = now;
      if (!version.endsWith("busy")) this.version = version; // a run that has just begun is not in the state yet
    } catch {
      // it is read again later, or with the next message
    }
  }

  // ---- its past

  // Every state that the thread ever had, on any branch; the next message may go on from each.
  async showHistory() {
    if (!this.id) return;
    const states = await api.history(this.id, MOST_STATES);
    byId("history").replaceChildren(
      ...states.map((state) => {
        const messages = state.values?.messages ?? [];
        const words = messages.length ? textOf(messages.at(-1)).slice(0, 60) || messages.at(-1).type : "empty";
        const onclick = () => this.#lookBack(state);
        return element("li", {}, element("button", { type: "button", onclick }, `${messages.length} · ${words}`));
      }),
    );
  }

  #lookBack(state) {
    this.turns.leave();
    this.#render(state, null);
    const base = { checkpoint_id: checkpointOf(state) };
    this.composer.notice("You look at an earlier state; your next message goes on from here.", base);
  }
}

// The thread first: what changes in between is seen at the next look.
async function threadAndState(id) {
  const thread = await api.thread(id);
  return [thread, await api.state(id)];
}

// A text that changes when the thread does.
const versionOf = (thread) => `${thread.updated_at} ${thread.status}`;

const MOST_FORKS = 30;
const MOST_STATES = 100;
const MOST_PAST_CHARACTERS = 500_000; // of states that are read for their branches

const checkpointOf = (state) => state.checkpoint?.checkpoint_id ?? null;

// The messages that were there before the run: its stream tells of all that came after.
function before(messages, newMessage) {
  const at = messages.findIndex(({ id }) => newMessage && id === newMessage.id);
  return at < 0 ? messages : messages.slice(0, at);
}
