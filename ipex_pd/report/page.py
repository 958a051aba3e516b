"""What every page of HTML shares: one self-contained file that opens offline, prints on A4 and reads on a phone.

A page is a template that extends `page.html` and fills its blocks `title`, `heading` and `content` (and `style`, for
rules of its own after those of `style.css`); `macros.html` has lists, tables, galleries of figures and the closing
sections. Its values come as one dictionary, of which `page.html` itself reads `notice` only::

    content = {"notice": NOTICE, "pictures": pictures_of(figures), "run": run_rows(PACKAGES), ...}
    write_page(render_page("plan_report.html", content), path)
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from ipex_pd.errors import OutputError
from ipex_pd.report.figures import PANEL_INCHES, to_svg

_SLACK_INCHES = 0.1


class Picture(NamedTuple):
    """A drawn figure, its text alternative, and whether it takes the whole width."""

    svg: Markup
    alternative: str
    wide: bool = False


def render_page(template: str, content: Mapping[str, Any]) -> str:
    """A page as one HTML text.

    Text is escaped; the filter `coded` shows what stands between backticks as code.

    Args:
        template: name of the file in `report/templates`.
        content: every value the template asks for; one that is missing is an error, never an empty place.
    """
    environment = Environment(
        loader=PackageLoader("ipex_pd.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters["coded"] = coded
    return environment.get_template(template).render(content)


def write_page(page: str, path: str | Path) -> Path:
    """Write a page whole or not at all.

    Args:
        page: what `render_page` returned.
        path: the HTML file; an older one is replaced when the new one is complete.

    Returns:
        The path of the page.

    Raises:
        OutputError: the file cannot be written.
    """
    target = Path(path)
    draft = target.with_name(f".{target.name}.part")
    try:
        draft.write_text(page, encoding="utf-8")
        draft.replace(target)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise OutputError(
            f"the report cannot be written ({error.strerror or error})", where=str(target), cure="Choose another place"
        ) from error
    return target


def coded(text: str) -> Markup:
    """Escaped text in which `names` are shown as code."""
    parts = [str(escape(part)) for part in text.split("`")]
    return Markup("".join(f"<code>{part}</code>" if k % 2 else part for k, part in enumerate(parts)))


def pictures_of(drawn: Mapping[str, Sequence[tuple[str, Figure]]]) -> dict[str, list[Picture]]:
    """Figures as pictures for the macro `gallery`, by section.

    Args:
        drawn: section -> (text alternative, figure); the section's name keeps the parts of figures apart.
    """
    return {
        section: [_picture(f"{section}-{k}", told, figure) for k, (told, figure) in enumerate(items)]
        for section, items in drawn.items()
    }


def _picture(name: str, alternative: str, figure: Figure) -> Picture:
    wide = figure.get_size_inches()[0] > PANEL_INCHES[0] + _SLACK_INCHES
    return Picture(Markup(to_svg(figure, name)), alternative, wide)


def run_rows(packages: Sequence[str]) -> list[tuple[str, str]]:
    """When a page was written, and with which versions of these packages: the rows of `This run`."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in packages)
    return [
        ("written", datetime.now(UTC).date().isoformat()),
        ("versions", f"{versions}, Python {platform.python_version()}"),
    ]


def digest(content: str | bytes) -> str:
    """SHA-256 of a text (in UTF-8) or of the bytes of a file."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()
