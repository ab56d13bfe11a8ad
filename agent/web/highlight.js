// Code to coloured spans, by Prism's tokens. Pure.

const NAMES = {
  js: "javascript", mjs: "javascript", node: "javascript", ts: "typescript", py: "python", python3: "python",
  sh: "bash", shell: "bash", console: "bash", zsh: "bash", yml: "yaml", html: "markup", xml: "markup", svg: "markup",
  "c++": "cpp", cc: "cpp", h: "c", "c#": "csharp", cs: "csharp", golang: "go", rs: "rust", rb: "ruby", kt: "kotlin",
  dockerfile: "docker", jsonc: "json", patch: "diff", cfg: "ini", env: "ini",
};
const KNOWN = new Set(
  ("markup css javascript typescript jsx tsx json python bash yaml sql java c cpp csharp go rust ruby kotlin swift " +
    "diff docker toml ini").split(" "),
);
const LONGEST = 50_000; // characters; longer code has one colour

// Prism's name of a language; null where it has none here.
export function languageOf(name) {
  const lower = name.toLowerCase();
  const language = NAMES[lower] ?? lower;
  return KNOWN.has(language) ? language : null;
}

export function highlighted(prism, code, language) {
  return code.length > LONGEST ? [code] : prism.tokenize(code, prism.languages[language]).map(spanOf);
}

function spanOf(token) {
  if (typeof token === "string") return token;
  const inside = Array.isArray(token.content) ? token.content : [token.content];
  return { tag: "span", attributes: { class: `token ${token.type}` }, children: inside.map(spanOf) };
}
