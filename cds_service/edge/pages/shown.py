"""Text for a page: Markdown as harmless HTML, JSON, and characters that no browser obeys."""

import json
import re
from typing import Any

import nh3
from markdown_it import MarkdownIt
from markupsafe import Markup

#: what turns the direction of a text, hides in it or controls a device: shown by its number in place of being obeyed
_HIDDEN = re.compile(
    "[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f]"
)
_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).disable("image")
_TAGS = {"p", "ul", "ol", "li", "strong", "em", "s", "a", "br", "hr", "blockquote", "code", "pre"} | {
    "h1", "h2", "h3", "h4", "table", "thead", "tbody", "tr", "th", "td"
}  # fmt: skip


def plain(text: str) -> str:
    """A text with its hidden characters made visible: `[U+202E]`."""
    return _HIDDEN.sub(lambda found: f"[U+{ord(found[0]):04X}]", text)


def finalised(value: Any) -> Any:
    """What a template does with every value: hidden characters become visible, None becomes nothing."""
    if value is None:
        return ""
    return value if isinstance(value, Markup) or not isinstance(value, str) else plain(value)


def markdown(text: str) -> Markup:
    """The GitHub Flavored Markdown of a card as HTML: no HTML of its own, no images, links to the web only."""
    html = nh3.clean(
        _MARKDOWN.render(plain(text)),
        tags=_TAGS,
        attributes={"a": {"href"}},
        url_schemes={"http", "https"},
        link_rel="noopener noreferrer",
        set_tag_attribute_values={"a": {"target": "_blank"}},
    )
    return Markup(html)  # nh3 has cleaned it


def json_text(value: Any) -> str:
    """JSON to read and to copy: hidden characters stand as escapes, so that the copy says the same."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return escaped(text)


def escaped(text: str) -> str:
    """Text of JSON that means the same, with hidden characters as escapes."""
    return _HIDDEN.sub(lambda found: json.dumps(found[0])[1:-1], text.replace("\r\n", "\n"))
