import assert from "node:assert/strict";
import { test } from "node:test";
import { attachmentsOf, contentOf, fileBlock, imageBlock, textOf, titleOf } from "../../../agent/web/content.js";
import { timeInWords, timeOf } from "../../../agent/web/times.js";

test("a text alone is a text, and with files a list of blocks", () => {
  assert.equal(contentOf("Look.", []), "Look.");
  const content = contentOf("Look.", [imageBlock("AAAA", "image/png"), fileBlock("a.txt", "File “b”:\nno")]);
  assert.equal(textOf({ content }), "Look.");
  assert.deepEqual(attachmentsOf({ content }), [{ image: "data:image/png;base64,AAAA", name: "Image" }, { image: null, name: "a.txt" }]);
  assert.deepEqual(contentOf(" ", [imageBlock("AAAA", "image/png")]).length, 1);
});

test("blocks of other programs are shown, and nothing is loaded for them", () => {
  const content = ["a", { type: "text", text: "b" }, { type: "image", url: "https://a.example/x.png" }, { type: "image_url", image_url: { url: "https://a.example/y.png" } }, { type: "file", filename: "c.pdf" }, { type: "reasoning", reasoning: "?" }];
  assert.equal(textOf({ content }), "ab");
  assert.ok(attachmentsOf({ content }).every(({ image }) => image === null));
  assert.equal(textOf({ content: null }), "");
  const file = { type: "file", base64: "AAAA", mime_type: "audio/wav" };
  assert.deepEqual(attachmentsOf({ content: [file] }), [{ image: null, name: "audio/wav", href: "data:audio/wav;base64,AAAA" }]);
});

test("the title of a conversation is its first words, or the names of what was sent without any", () => {
  assert.equal(titleOf("  Two\n lines "), "Two lines");
  assert.equal(titleOf(contentOf("Look.", [imageBlock("AAAA", "image/png")])), "Look.");
  assert.equal(titleOf([imageBlock("AAAA", "image/png"), fileBlock("a.txt", "b")]), "Image, a.txt");
  assert.equal(titleOf(null), "Untitled");
  assert.equal(titleOf("x".repeat(200)).length, 80);
});

test("the time of a message is in its id, where that is a UUID of version 7", () => {
  assert.equal(timeOf("lc_run--01a22a56-0c51-7545-bc3d-b43b460a7064"), 0x01a22a560c51);
  for (const id of ["61fcc057-6014-444d-a29c-4c872aefb0ff", "", null, undefined, "msg_1"]) assert.equal(timeOf(id), null);
  const now = new Date(2026, 4, 3, 12, 0).getTime();
  assert.equal(timeInWords(now, now, "en-GB"), "12:00");
  assert.equal(timeInWords(now - 86_400_000, now, "en-GB"), "2 May, 12:00");
});
