// Makes a node's children those of a tree (markdown-tree.js). What is the same stays the same node.

const MATHML = "http://www.w3.org/1998/Math/MathML";

// From the child number `from` on.
export function patch(root, trees, from = 0) {
  trees.forEach((tree, at) => {
    const node = root.childNodes[from + at];
    if (!node) root.append(made(tree, root));
    else if (!update(node, tree)) node.replaceWith(made(tree, root));
  });
  while (root.childNodes.length > from + trees.length) root.lastChild.remove();
}

function made(tree, parent) {
  if (typeof tree === "string") return document.createTextNode(tree);
  const namespace = tree.tag === "math" ? MATHML : parent.namespaceURI;
  const node = document.createElementNS(namespace, tree.tag);
  setAttributes(node, tree);
  patch(node, tree.children);
  return node;
}

// False if it cannot be made of this node.
function update(node, tree) {
  if (typeof tree === "string") {
    if (node.nodeType !== Node.TEXT_NODE) return false;
    if (tree.startsWith(node.data)) node.appendData(tree.slice(node.data.length));
    else node.data = tree;
    return true;
  }
  if (node.localName !== tree.tag) return false;
  if (tree.isKept) return true;
  setAttributes(node, tree);
  patch(node, tree.children);
  return true;
}

function setAttributes(node, { attributes, style }) {
  for (const { name } of [...node.attributes]) if (!(name in attributes)) node.removeAttribute(name);
  for (const [name, value] of Object.entries(attributes)) {
    if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
  }
  for (const [name, value] of Object.entries(style ?? {})) node.style[name] = value; // by the CSSOM, which the policy allows
}
