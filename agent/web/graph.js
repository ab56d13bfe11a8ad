// The graph, drawn from the server's description of it, with the active node lit.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 156; // the longest name of the agent's nodes fits
const HEIGHT = 34;
const GAP_X = 24;
const GAP_Y = 38;

export class GraphView {
  constructor(root) {
    this.root = root;
    this.boxes = new Map();
  }

  show({ nodes, edges }) {
    const layers = layersOf(nodes, edges);
    const width = Math.max(...layers.map((layer) => layer.length)) * (WIDTH + GAP_X) + 60;
    const height = layers.length * (HEIGHT + GAP_Y);
    const svg = svgElement("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "The agent's graph" });
    const places = new Map();
    layers.forEach((layer, row) =>
      layer.forEach((id, column) =>
        places.set(id, {
          x: width / 2 + (column - (layer.length - 1) / 2) * (WIDTH + GAP_X),
          y: row * (HEIGHT + GAP_Y) + HEIGHT / 2 + 4,
        }),
      ),
    );
    const drawn = edges.filter(({ source, target }) => source !== target);
    for (const edge of drawn) svg.append(line(places.get(edge.source), places.get(edge.target), edge.conditional));
    for (const [id, place] of places) svg.append(this.#box(id, place));
    this.root.replaceChildren(svg);
  }

  light(node) {
    for (const [id, box] of this.boxes) box.classList.toggle("active", id === node);
  }

  #box(id, { x, y }) {
    const box = svgElement("g", { class: "node", "data-node": id });
    const words = svgElement("text", { x, y: y + 4, "text-anchor": "middle" });
    words.textContent = { __start__: "start", __end__: "end" }[id] ?? id;
    const size = { x: x - WIDTH / 2, y: y - HEIGHT / 2, width: WIDTH, height: HEIGHT, rx: HEIGHT / 2 };
    box.append(svgElement("rect", size), words);
    this.boxes.set(id, box);
    return box;
  }
}

// How far each node is from the start; the end comes last.
function layersOf(nodes, edges) {
  const depth = new Map([["__start__", 0]]);
  const waiting = ["__start__"];
  while (waiting.length) {
    const id = waiting.shift();
    for (const { source, target } of edges) {
      if (source === id && !depth.has(target)) {
        depth.set(target, depth.get(id) + 1);
        waiting.push(target);
      }
    }
  }
  const ids = nodes.map(({ id }) => String(id));
  const deepest = Math.max(...ids.filter((id) => id !== "__end__").map((id) => depth.get(id) ?? 0));
  if (ids.includes("__end__")) depth.set("__end__", deepest + 1);
  const layers = [];
  for (const id of ids) (layers[depth.get(id) ?? 0] ??= []).push(id);
  return layers.filter(Boolean);
}

function line(from, to, isConditional) {
  const isDown = to.y > from.y;
  const far = Math.abs(to.y - from.y) > HEIGHT + GAP_Y + 1;
  const side = isDown ? (far ? -1 : 0) : 1; // ways back and around go beside the boxes
  const [x1, x2] = [from.x + (side * WIDTH) / 2, to.x + (side * WIDTH) / 2];
  const [y1, y2] = side ? [from.y, to.y] : [from.y + HEIGHT / 2, to.y - HEIGHT / 2];
  const bend = side * 46;
  const path = side
    ? `M${x1} ${y1} C${x1 + bend} ${y1} ${x2 + bend} ${y2} ${x2} ${y2}`
    : `M${x1} ${y1} C${x1} ${y1 + GAP_Y / 2} ${x2} ${y2 - GAP_Y / 2} ${x2} ${y2}`;
  return svgElement("path", { class: isConditional ? "edge conditional" : "edge", d: path });
}

function svgElement(name, attributes) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}
