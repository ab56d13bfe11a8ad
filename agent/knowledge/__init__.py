"""What `search_docs` knows: the Markdown pages beside this file, in passages, ranked by BM25."""

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict

_STOPWORDS = frozenset(
    """
    a an and are as at be by can do does for from have how i if in is it its me my of on or
    please tell than that the their them there these this to was we what when where which who
    why will with you your explain about use should
    """.split()  # noqa: SIM905
)


class PassageRetriever(BaseRetriever):
    """Ranks passages by BM25 over title, heading and text; returns at most `k` that match."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    passages: list[Document]
    index: Any
    k: int = 3

    @classmethod
    def over(cls, folder: Path) -> "PassageRetriever":
        """Reads every `*.md` page of a folder, a passage for each `##` section."""
        import bm25s  # brings numpy: not needed until someone searches

        passages = [p for page in sorted(folder.glob("*.md")) for p in _passages(page)]
        index = bm25s.BM25()
        index.index([_terms(_weighted(p)) for p in passages], show_progress=False)
        return cls(passages=passages, index=index)

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        terms = [term for term in _terms(query) if term in self.index.vocab_dict]
        if not terms:
            return []
        k = min(self.k, len(self.passages))
        indexes, scores = self.index.retrieve([terms], k=k, show_progress=False)
        ranked = zip(indexes[0], scores[0], strict=True)
        return [self.passages[index] for index, score in ranked if score > 0]


@lru_cache(maxsize=1)
def _default() -> PassageRetriever:
    return PassageRetriever.over(Path(__file__).parent)


class _Lazy(BaseRetriever):
    """Reads the pages in the retriever's own thread, at the first search: not on the event loop."""

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        return _default()._get_relevant_documents(query, run_manager=run_manager)


def retriever() -> BaseRetriever:
    """The retriever over this folder's pages."""
    return _Lazy(name="knowledge")


def _passages(page: Path) -> list[Document]:
    lead, *sections = re.split(r"^## ", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    title, _, intro = lead.removeprefix("# ").partition("\n")
    split = [(title, "", intro), *(section.partition("\n") for section in sections)]
    pieces = [(heading.strip(), body.strip()) for heading, _, body in split]
    return [
        Document(f"{heading}: {body}", metadata={"source": page.stem, "title": title})
        for heading, body in pieces
        if body
    ]


def _weighted(passage: Document) -> str:
    heading = passage.page_content.partition(":")[0]
    return f"{passage.metadata['title']} {heading} {heading} {passage.page_content}"


def _terms(text: str) -> list[str]:
    words = re.findall(r"\w+", text.lower())
    return [_singular(word) for word in words if word not in _STOPWORDS]


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
