// What the agent remembers of the person: to read, and to delete.

import { forget, memories } from "./api.js";
import { byId, element } from "./dom.js";

export function watchMemories(onFault) {
  byId("memories").addEventListener("toggle", ({ target }) => {
    if (target.open) show().catch(onFault);
  });
  byId("memory-list").addEventListener("click", async ({ target }) => {
    if (!target.dataset.memory) return;
    try {
      await forget(target.dataset.memory);
      await show();
    } catch (error) {
      onFault(error);
    }
  });
}

async function show() {
  const entries = (await memories()).map(({ key, value }) => {
    const label = `Forget “${value.text}”`;
    const remove = { type: "button", class: "quiet delete", "aria-label": label, "data-memory": key };
    return element("li", {}, element("span", {}, value.text), element("button", remove, "×"));
  });
  byId("memory-list").replaceChildren(...(entries.length ? entries : [element("li", {}, "Nothing yet.")]));
}
