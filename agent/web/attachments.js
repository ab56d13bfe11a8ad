// Files that go with a message: images, made small enough, and texts.

import { attachmentsOf, fileBlock, imageBlock } from "./content.js";
import { byId, element } from "./dom.js";

const LONGEST_SIDE = 1568; // pixels: models make larger images smaller themselves
const LARGEST_BASE64 = 1_000_000; // characters
const LARGEST_TOGETHER = 3_500_000; // characters: the server takes a body of 4 MB
const LARGEST_TEXT_BYTES = 90_000;
const MOST = 8;
const TEXT = /^text\/|[/+](json|xml|yaml|toml|sql|javascript|typescript|x-sh)$/;
const TEXT_NAME = /\.(md|txt|csv|tsv|json|ya?ml|toml|ini|log|py|js|ts|jsx|tsx|sh|sql|java|c|h|cpp|cs|go|rs|rb|kt|swift|html|css|xml)$/i;

export class Attachments {
  // Files are chosen, pasted or dropped on `form`.
  constructor(form) {
    this.list = byId("attached");
    this.fault = byId("attach-fault");
    this.chosen = byId("files");
    this.blocks = [];
    byId("attach").addEventListener("click", () => this.chosen.click());
    this.chosen.addEventListener("change", () => {
      this.#read([...this.chosen.files]);
      this.chosen.value = "";
    });
    form.addEventListener("paste", (event) => this.#given(event, event.clipboardData));
    form.addEventListener("dragover", (event) => event.preventDefault());
    form.addEventListener("drop", (event) => this.#given(event, event.dataTransfer));
  }

  get count() {
    return this.blocks.length;
  }

  add(...blocks) {
    this.blocks.push(...blocks);
    this.#show();
  }

  take() {
    const taken = this.blocks.splice(0);
    this.fault.textContent = "";
    this.#show();
    return taken;
  }

  #given(event, data) {
    if (!data?.files.length) return;
    event.preventDefault();
    this.#read([...data.files]);
  }

  async #read(files) {
    this.fault.textContent = "";
    for (const file of files) {
      try {
        if (this.count >= MOST) throw new Error(`A message takes ${MOST} files.`);
        const block = await blockOf(file);
        const size = JSON.stringify([...this.blocks, block]).length;
        if (size > LARGEST_TOGETHER) throw new Error(`${file.name} makes the message too large: send it with the next one.`);
        this.add(block);
      } catch (error) {
        this.fault.textContent = error.message;
      }
    }
  }

  #show() {
    const shown = attachmentsOf({ content: this.blocks }).map(({ image, name }, at) => {
      const remove = () => {
        this.blocks.splice(at, 1);
        this.#show();
        byId("message").focus();
      };
      const picture = image ? element("img", { src: image, alt: "" }) : "📄 ";
      return element("li", {}, picture, name, element("button", { type: "button", class: "quiet small", "aria-label": `Remove ${name}`, onclick: remove }, "×"));
    });
    this.list.replaceChildren(...shown);
    this.list.hidden = !shown.length;
  }
}

// What came with a message's text, or with a tool's result, to be seen or saved.
export const attached = (content) =>
  attachmentsOf({ content }).map(({ image, name, href }) => {
    if (image) return element("img", { class: "attachment", src: image, alt: name === "Image" ? "Attached image" : name });
    return element(href ? "a" : "span", { class: "attachment", href, download: href && name.replaceAll("/", ".") }, `📄 ${name}`);
  });

async function blockOf(file) {
  if (file.type.startsWith("image/")) return image(file);
  if (!TEXT.test(file.type) && !TEXT_NAME.test(file.name)) throw new Error(`${file.name} is neither an image nor a text.`);
  if (file.size > LARGEST_TEXT_BYTES) throw new Error(`${file.name} is longer than ${LARGEST_TEXT_BYTES / 1000} kB: attach a part of it.`);
  return fileBlock(file.name, await file.text());
}

// As JPEG, as large as a message may be.
async function image(file) {
  const picture = await createImageBitmap(file).catch(() => {
    throw new Error(`${file.name} cannot be read as an image.`);
  });
  let scale = Math.min(1, LONGEST_SIDE / Math.max(picture.width, picture.height));
  for (;;) {
    const canvas = element("canvas", { width: Math.ceil(picture.width * scale), height: Math.ceil(picture.height * scale) });
    const context = canvas.getContext("2d");
    context.fillStyle = "#fff"; // behind what is transparent
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(picture, 0, 0, canvas.width, canvas.height);
    const base64 = canvas.toDataURL("image/jpeg", 0.8).split(",")[1];
    if (base64.length <= LARGEST_BASE64) return imageBlock(base64, "image/jpeg");
    scale *= Math.min(0.95, Math.sqrt(LARGEST_BASE64 / base64.length));
  }
}
