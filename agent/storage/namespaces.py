"""Where a user's items lie in the server's store: one rule for tools, access and scale-out."""

ROOT: tuple[str, ...] = ()  # where the server keeps its users' parts of the store


def memories_namespace(user_id: str | None) -> tuple[str, ...]:
    """Where a user's memories lie; without users, in `("memories",)`.

    A server with a root (Aegra's is `("users",)`) knows its users by their ids as they are.
    """
    if not user_id:
        return ("memories",)
    return (*ROOT, user_id if ROOT else store_name(user_id), "memories")


def store_name(user_id: str) -> str:
    """The user's id as a part of a namespace of the store, where dots and stars mean more."""
    for at, name in {"%": "%25", ".": "%2E", "*": "%2A"}.items():
        user_id = user_id.replace(at, name)
    return user_id
