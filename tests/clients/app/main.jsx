// A chat as an application would write it, with `useStream` of either generation. The address says
// which: ?hook=v0|v1&api=<server>&transport=sse|websocket&key=<api key>&history=<limit>
import { useEffect, useState } from "react";
import { createRoot } from "react-dom/client";
import { useStream as useStreamV0 } from "@langchain/langgraph-sdk/react";
import { useStream as useStreamV1 } from "@langchain/react";

const asked = new URLSearchParams(location.search);
const options = {
  apiUrl: asked.get("api"),
  assistantId: asked.get("assistant") ?? "agent",
  apiKey: asked.get("key") ?? undefined,
};

function textOf(message) {
  if (typeof message.content === "string") return message.content;
  return message.content.map((block) => block.text ?? "").join("");
}

function typeOf(message) {
  return message.type ?? message.getType();
}

function useThreadId() {
  const [threadId, setThreadId] = useState(asked.get("thread"));
  return [
    threadId,
    (id) => {
      const address = new URL(location.href);
      address.searchParams.set("thread", id);
      history.replaceState(null, "", address);
      setThreadId(id);
    },
  ];
}

function ChatV0() {
  const [threadId, onThreadId] = useThreadId();
  const stream = useStreamV0({
    ...options,
    threadId,
    onThreadId,
    reconnectOnMount: asked.get("reconnect") === "1",
    fetchStateHistory: asked.has("history") ? { limit: Number(asked.get("history")) } : false,
  });
  const decide = (decisions) =>
    stream.submit(undefined, { command: { resume: { decisions } } });
  return <Chat stream={stream} decide={decide} threadId={threadId} />;
}

function ChatV1() {
  const [threadId, onThreadId] = useThreadId();
  const stream = useStreamV1({
    ...options,
    threadId,
    onThreadId,
    transport: asked.get("transport") ?? "sse",
  });
  const decide = (decisions) => stream.respond({ decisions });
  return <Chat stream={stream} decide={decide} threadId={threadId} />;
}

function Chat({ stream, decide, threadId }) {
  const [text, setText] = useState("");
  const messages = stream.messages.map((message) => ({
    id: message.id,
    type: typeOf(message),
    text: textOf(message),
  }));
  useEffect(() => {
    window.chat = { stream, decide };
    (window.seen ??= []).push(messages);
  });
  const submit = (event) => {
    event.preventDefault();
    stream.submit({ messages: [{ type: "human", content: text }] });
    setText("");
  };
  return (
    <main data-loading={stream.isLoading} data-thread={threadId ?? ""}>
      {messages.map((message, at) => (
        <p key={at} data-type={message.type} data-id={message.id}>
          {message.text}
        </p>
      ))}
      {stream.interrupt && <pre id="interrupt">{JSON.stringify(stream.interrupt.value)}</pre>}
      {stream.error != null && <pre id="error">{String(stream.error?.message ?? stream.error)}</pre>}
      <form onSubmit={submit}>
        <input value={text} onChange={(event) => setText(event.target.value)} />
        <button>Send</button>
      </form>
      <button id="stop" onClick={() => stream.stop()}>Stop</button>
    </main>
  );
}

const root = document.getElementById("root");
createRoot(root).render(asked.get("hook") === "v0" ? <ChatV0 /> : <ChatV1 />);
