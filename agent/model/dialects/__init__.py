"""What OpenAI-compatible endpoints really send, made into what OpenAI documents.

Works on parsed events and knows nothing of sockets, the OpenAI SDK or LangChain: each event of an
answer goes in as a dict, regular events come out, and an answer that cannot be used raises
`UnusableAnswer`. One habit is one short function, which says who has it.
"""

from agent.model.dialects.chat_completions import ChatCompletions
from agent.model.dialects.failures import UnusableAnswer
from agent.model.dialects.responses import Responses

__all__ = ["ChatCompletions", "Responses", "UnusableAnswer"]
