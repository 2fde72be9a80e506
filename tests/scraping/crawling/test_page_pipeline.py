"""Page pipeline: one page is stored in the background, in order, and its failure ends the crawl."""

import asyncio

import pytest

from planespotter_scraping.crawling import page_pipeline
from planespotter_scraping.crawling.page_pipeline import PagePipeline
from planespotter_scraping.crawling.result import CrawlAbortedError, CrawlResult


async def test_pages_are_stored_one_after_another_in_their_order() -> None:
    pipeline, steps = PagePipeline(CrawlResult()), list[str]()

    async def store(name: str, seconds: float) -> None:
        steps.append(f"{name} begins")
        await asyncio.sleep(seconds)
        steps.append(f"{name} ends")

    await pipeline.submit("1", lambda: store("1", 0.05))
    steps.append("page 2 is loaded")
    await pipeline.submit("2", lambda: store("2", 0))
    await pipeline.join()
    assert steps == ["page 2 is loaded", "1 begins", "1 ends", "2 begins", "2 ends"]


async def test_failure_is_raised_before_the_next_page_is_opened_or_stored() -> None:
    pipeline = PagePipeline(CrawlResult())
    pipeline.raise_failure()

    async def fail() -> None:
        raise CrawlAbortedError("The site denies access to its images.")

    async def never() -> None:
        pytest.fail("the next page was stored")

    await pipeline.submit("1", fail)
    pipeline.raise_failure()  # it has not failed yet
    await asyncio.sleep(0)
    for raising in (pipeline.join, lambda: pipeline.submit("2", never)):
        with pytest.raises(CrawlAbortedError, match="denies access"):
            await raising()
    with pytest.raises(CrawlAbortedError, match="denies access"):
        pipeline.raise_failure()


async def test_cancelled_page_sends_nothing_more_and_has_no_failure() -> None:
    pipeline, finished = PagePipeline(CrawlResult()), list[str]()

    async def store() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            finished.append("flushed")

    await pipeline.submit("1", store)
    await asyncio.sleep(0)
    await pipeline.cancel()
    assert finished == ["flushed"]
    pipeline.raise_failure()
    await pipeline.join()


async def test_images_that_take_too_long_end_the_crawl_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_pipeline, "STORE_SECONDS", 0.01)
    pipeline = PagePipeline(CrawlResult(stored=3))
    await pipeline.submit("http://site/1", lambda: asyncio.sleep(60))
    with pytest.raises(
        CrawlAbortedError, match=r"images of http://site/1 did not arrive within .* 3 photos stored\. Run"
    ):
        await pipeline.join()
