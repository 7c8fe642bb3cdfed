"""Text that Markdown shows as it is; and the formatting of ``sslmri.text``, for pages."""

import re

from sslmri.text import count, in_order, percent, proportion

__all__ = ["count", "escape_markdown", "in_order", "percent", "proportion"]

_JOINER = "\u2060"  # invisible, without width: separates what Markdown would read as one token
_PUNCTUATION = r"[!-/:-@\[-`{-~]"
_BIDI_CONTROLS = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_SEAMS = re.compile(rf"(?<={_PUNCTUATION})(?={_PUNCTUATION})|(?<=:)(?=\S)|(?=@)|(?<=www)(?=\.)", re.IGNORECASE)


def escape_markdown(text: str) -> str:
    """Returns text that Markdown shows literally: a file name yields no markup, link, emoji or arrow."""
    flat = _BIDI_CONTROLS.sub("\ufffd", " ".join(text.split()))
    return re.sub(f"({_PUNCTUATION})", r"\\\1", _SEAMS.sub(_JOINER, flat))
