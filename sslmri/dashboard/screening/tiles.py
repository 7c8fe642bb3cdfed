"""A picture with a button that reaches over both, so that a click anywhere on them counts."""

from pathlib import Path

import streamlit as st

_PICTURE_IN_ROW = 52  # pixels


def draw_tile(
    image: bytes | Path,
    label: str,
    key: str,
    width: int,
    choice: tuple[str, object] | None = None,
    *,
    is_row: bool = False,
    is_chosen: bool = False,
) -> bool:
    """Draws a tile and returns whether it was clicked.

    A click keeps ``choice``, a key and its value, in the session before the page is drawn again. In a row the button,
    whose label is Markdown, stands next to the picture and not below it.
    """
    kind = ("chosen-" if is_chosen else "") + ("row" if is_row else "tile")
    with st.container(border=True, width=width, key=f"{kind}-{key}", horizontal=is_row, gap="small"):
        st.image(image, width=_PICTURE_IN_ROW if is_row else "stretch", alt=label)
        on_click = st.session_state.__setitem__ if choice else None
        return st.button(label, key=key, on_click=on_click, args=choice, width="stretch")
