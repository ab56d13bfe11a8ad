"""The clients that tutorials teach, as they are, against our routes."""

from typing import Any

from playwright.async_api import Page

TEXT = " ".join(f"word{n}" for n in range(30))
QUESTION = "stream 30 tokens at 60 per second"

FETCH_READER = """
async (question) => {
  const response = await fetch("/chat/stream", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ question }),
  });
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let buffer = "", text = "", pieces = 0;
  while (true) {
    const { done, value } = await reader.read();
    if (done) break;
    buffer += decoder.decode(value, { stream: true });
    const lines = buffer.split("\\n");
    buffer = lines.pop();
    for (const line of lines) {
      if (!line.startsWith("data: ")) continue;
      const data = JSON.parse(line.slice(6));
      if (data.error) throw new Error(data.error);
      if (data.done) return { text, pieces };
      text += data.token;
      pieces += 1;
    }
  }
  throw new Error("the stream just ended");
}
"""

SOCKET = """
(question) => new Promise((resolve, reject) => {
  const ws = new WebSocket(`ws://${location.host}/ws/chat`);
  let text = "", pieces = 0;
  ws.onopen = () => ws.send(question);
  ws.onmessage = (event) => {
    if (event.data === "[DONE]") { ws.close(); resolve({ text, pieces }); return; }
    text += event.data;
    pieces += 1;
  };
  ws.onerror = reject;
})
"""

EVENT_SOURCE = """
(address) => new Promise((resolve) => {
  const source = new EventSource(address);
  let text = "";
  source.onmessage = ({ data }) => {
    const event = JSON.parse(data);
    if (event.type === "token") text += event.content;
    if (event.type === "done") { source.close(); resolve({ text, pieces: 2 }); }
  };
})
"""


def check(told: Any) -> None:
    assert told["text"] == TEXT
    assert told["pieces"] > 1


async def test_a_fetch_reader(page: Page) -> None:
    """`fetch`, `getReader` and lines of `data:` give the answer, piece by piece."""
    check(await page.evaluate(FETCH_READER, QUESTION))


async def test_a_websocket_with_done(page: Page) -> None:
    """`ws.onmessage` until `[DONE]` gives the answer, piece by piece."""
    check(await page.evaluate(SOCKET, QUESTION))


async def test_an_event_source(page: Page) -> None:
    """The browser's own EventSource reads a run by its address."""
    began = await page.evaluate(
        """async (message) => {
             const headers = { "Content-Type": "application/json" };
             const body = JSON.stringify({ message });
             const response = await fetch("/agent/stream", { method: "POST", headers, body });
             const reader = response.body.getReader();
             const first = new TextDecoder().decode((await reader.read()).value);
             reader.cancel();
             return JSON.parse(first.split("data: ")[1].split("\\n")[0]); }""",
        QUESTION,
    )
    check(
        await page.evaluate(EVENT_SOURCE, f"/agent/stream/{began['thread_id']}/{began['run_id']}")
    )
