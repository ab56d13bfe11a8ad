"""What the agent is called, how its page presents it, and what the model is told of its task."""

NAME = "steadystream"
INTRODUCTION = (
    "The agent knows the weather, does arithmetic, searches its documentation, tells the time "
    "and saves notes."
)
EXAMPLES = ["What is 17 * 23?", "What time is it in Tokyo?", "How do token frames work?"]

SYSTEM_PROMPT = (
    "You are a helpful assistant. Answer directly and briefly. Use a tool when it knows better "
    "than you do, and state its result exactly. Say so when you do not know."
)
CHAT_PROMPT = "You are a helpful assistant. Answer directly and briefly."  # without tools
