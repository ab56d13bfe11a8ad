"""An agent over server-sent events as tutorials teach it: FastAPI and `StreamingResponse`."""

import json
import sys
from collections.abc import AsyncIterator

import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from tests.bench.stock.stock_agent import graph

app = FastAPI()


class Question(BaseModel):
    message: str


@app.get("/ok")
async def ok() -> dict[str, bool]:
    return {"ok": True}


@app.post("/chat")
async def chat(question: Question) -> StreamingResponse:
    async def answer() -> AsyncIterator[str]:
        asked = {"messages": [{"role": "user", "content": question.message}]}
        async for token, _metadata in graph.astream(asked, stream_mode="messages"):
            if token.content:
                yield f"data: {json.dumps({'token': token.content})}\n\n"
        yield f"data: {json.dumps({'done': True})}\n\n"

    return StreamingResponse(answer(), media_type="text/event-stream")


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
