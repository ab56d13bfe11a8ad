// Building elements. Text is always set as text, never parsed as HTML.

export function element(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value === true) node.setAttribute(key, "");
    else if (value !== false && value != null) node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}

export const byId = (id) => document.getElementById(id);

export function json(value) {
  return JSON.stringify(value, null, 2) ?? "";
}

// What the focus is on is gone, or cannot be seen: whoever has no mouse is nowhere.
export const isLost = (node) => node === document.body || !node.checkVisibility({ visibilityProperty: true });

const IME_KEY = 229; // Safari's Enter that ends a composition comes after the composition's end

// Whether Enter was pressed, but not to end a composition of letters, or for a new line.
export const isEnter = ({ key, shiftKey, isComposing, keyCode }) =>
  key === "Enter" && !shiftKey && !isComposing && keyCode !== IME_KEY;
