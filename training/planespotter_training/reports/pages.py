"""HTML pages of the reports: self-contained, in light and in dark."""

from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from planespotter_scraping.catalog import count_noun
from planespotter_training.evaluation.metrics import METRICS, format_interval, format_value


def page(template: str, **values: Any) -> str:
    """Render the template of that name with `values`; all text in them is escaped."""
    return _templates().get_template(template).render(metrics=METRICS, **values)


@cache
def _templates() -> jinja2.Environment:
    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"value": lambda value, name: format_value(name, value), "count": count_noun}
    environment.globals |= {"interval": format_interval}
    return environment
