"""Search in the Markdown pages of `agent/knowledge/`."""

from langchain_core.tools import tool

from agent.knowledge import retriever


@tool
async def search_docs(query: str) -> str:
    """Search the documentation about streaming, LangGraph, RAG and steadystream itself."""
    pages = await retriever().ainvoke(query)
    if not pages:
        return "Nothing about that was found in the documentation."
    return "\n\n".join(f"[{page.metadata['source']}] {page.page_content}" for page in pages)
