"""Pagination of ListModels: page tokens that survive models which come and go between two pages."""

import base64
import binascii
import json

from planespotter_server.models.registry import natural_order
from planespotter_server.rejections import RequestRejected
from planespotter_server.serving.served_model import ServedModel

DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE = 50, 1000


def page_of(models: list[ServedModel], size: int, token: str) -> tuple[list[ServedModel], str]:
    """Return a page of `models` and the token of the next one, empty on the last page.

    Args:
        models: All models, by name and then the highest version first.
        size: Maximum number of models on the page; 0 for DEFAULT_PAGE_SIZE.
        token: The token of the page; empty for the first.

    Raises:
        RequestRejected: PAGE_SIZE_NEGATIVE or PAGE_TOKEN_INVALID.
    """
    if size < 0:
        raise RequestRejected(
            "PAGE_SIZE_NEGATIVE",
            f"page_size is negative: {size}. Omit it to get {DEFAULT_PAGE_SIZE} models.",
            metadata={"page_size": size},
            field="page_size",
        )
    # A token holds the last model of its page, not an offset: models may come and go between two pages.
    start = 0
    if token:
        name, version = _read_token(token)
        while start < len(models) and not _is_after(models[start], name, version):
            start += 1
    end = start + min(size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)
    return models[start:end], _token(models[end - 1]) if end < len(models) else ""


def _is_after(model: ServedModel, name: str, version: str) -> bool:
    bundle = model.bundle
    if bundle.name == name:
        return natural_order(bundle.version) < natural_order(version)  # the highest version comes first
    return natural_order(bundle.name) > natural_order(name)


def _token(last: ServedModel) -> str:
    return base64.urlsafe_b64encode(json.dumps([last.bundle.name, last.bundle.version]).encode()).decode()


def _read_token(token: str) -> tuple[str, str]:
    try:
        name, version = json.loads(base64.urlsafe_b64decode(token))
        if isinstance(name, str) and isinstance(version, str):
            return name, version
    except (binascii.Error, ValueError, TypeError):
        pass
    raise RequestRejected(
        "PAGE_TOKEN_INVALID",
        "page_token is invalid. Send the next_page_token of the previous page, or start again without it.",
        field="page_token",
    )
