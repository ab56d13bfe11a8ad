"""Messages that show the model when to call which function, and when none.

A function that is not listed here is shown by its description alone, which does less well: list
messages for the functions you add, four different ones, each with its arguments.
"""

from typing import Any

CALLS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "get_weather": [
        ("will it be warm in Vienna today?", {"city": "Vienna"}),
        ("Rome weather", {"city": "Rome"}),
        ("Do I need boots and a coat in Quebec?", {"city": "Quebec"}),
        ("How windy and wet is it right now in Hong Kong?", {"city": "Hong Kong"}),
    ],
    "calculate": [
        ("what is 8% of 1250?", {"expression": "1250 * 8 / 100"}),
        ("19 times 6, then minus 5", {"expression": "19 * 6 - 5"}),
        (
            "A ticket costs 31 and I need 4, plus a fee of 2. What do I pay?",
            {"expression": "31 * 4 + 2"},
        ),
        ("square root of 50 to the power of 3", {"expression": "sqrt(50) ** 3"}),
    ],
    "search_docs": [
        ("How does LangGraph keep state between runs?", {"query": "LangGraph state between runs"}),
        ("look in the docs for reconnecting", {"query": "reconnecting"}),
        ("What is an embedding in RAG?", {"query": "embedding in RAG"}),
        ("explain steadystream events", {"query": "steadystream events"}),
    ],
    "current_time": [
        ("what's the clock say in Rome?", {"timezone": "Europe/Rome"}),
        ("What is the date?", {}),
        ("Is it morning in Vancouver? Time there", {"timezone": "America/Vancouver"}),
        ("the time in India now", {"timezone": "Asia/Kolkata"}),
    ],
    "save_note": [
        (
            "note: the parcel arrives on Tuesday",
            {"title": "Parcel", "text": "The parcel arrives on Tuesday."},
        ),
        (
            "Please write down that Ben likes tea",
            {"title": "Ben", "text": "Ben likes tea."},
        ),
        (
            "remember this: locker 19, code 2604",
            {"title": "Locker", "text": "Locker 19, code 2604."},
        ),
        (
            "Save a note called Trip with the text pack shoes",
            {"title": "Trip", "text": "Pack shoes."},
        ),
    ],
}

PLAIN: list[tuple[str, str]] = [
    ("hello", "Hello! How can I help?"),
    ("Who discovered penicillin?", "Alexander Fleming, in 1928."),
    ("Write one line about autumn.", "Leaves fall like quiet letters."),
    ("How do I tie a tie?", "Start with the wide end."),
    ("thanks", "You are welcome!"),
    ("What is the capital of Peru?", "Lima."),
    ("Translate 'cat' to German", "Katze."),
    ("Why is the sea salty?", "Rivers carry salt to it."),
    ("Write an email to my landlord", "Dear landlord,"),
    ("How high is K2?", "8611 metres."),
    ("Rewrite this: me want bread", "I want bread."),
    ("When did the Titanic sink?", "In 1912."),
    ("Tell me about Cleopatra", "She ruled Egypt."),
    ("What is inflation?", "A rise in prices."),
    ("Give me tips for better sleep", "Keep regular hours."),
    ("which planet is the hottest", "Venus."),
]
