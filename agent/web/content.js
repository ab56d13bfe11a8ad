// A message's content: a text, or a list of LangChain's content blocks. Pure.

const FILE = /^File “(.*?)”:\n/;

export function textOf({ content }) {
  return typeof content === "string" ? content : blocksOf(content).filter((block) => !isFile(block)).map(wordsOf).join("");
}

// What came with the text: { image: data URL or address, or null, name }; of another file that is here, also its `href`.
export function attachmentsOf({ content }) {
  if (typeof content === "string") return [];
  return blocksOf(content).flatMap((block) => {
    if (isFile(block)) return [{ image: null, name: FILE.exec(block.text)[1] }];
    if (block.type === "image") return [{ image: block.base64 ? `data:${block.mime_type};base64,${block.base64}` : null, name: block.url ?? "Image" }];
    if (block.type === "image_url") return [{ image: dataUrl(block.image_url?.url ?? block.image_url), name: "Image" }];
    if (["text", undefined].includes(block.type)) return [];
    const file = { image: null, name: block.filename ?? block.mime_type ?? block.type };
    return [block.base64 ? { ...file, href: `data:${block.mime_type};base64,${block.base64}` } : file];
  });
}

// The title of a conversation that begins with this content.
export function titleOf(content) {
  const text = textOf({ content }) || attachmentsOf({ content }).map(({ name }) => name).join(", ");
  return text.trim().replaceAll(/\s+/g, " ").slice(0, 80) || "Untitled";
}

export function contentOf(text, attached) {
  return attached.length ? [...(text.trim() ? [{ type: "text", text }] : []), ...attached] : text;
}

export const fileBlock = (name, text) => ({ type: "text", text: `File “${name}”:\n${text}` });
export const imageBlock = (base64, mimeType) => ({ type: "image", base64, mime_type: mimeType });

const blocksOf = (content) => (content ?? []).map((block) => (typeof block === "string" ? { type: "text", text: block } : block));
const wordsOf = (block) => (block.type === "text" || block.type === undefined ? block.text ?? "" : "");
const isFile = (block) => block.type === "text" && FILE.test(block.text ?? "");
const dataUrl = (url) => (String(url).startsWith("data:image/") ? url : null); // nothing is loaded from elsewhere
