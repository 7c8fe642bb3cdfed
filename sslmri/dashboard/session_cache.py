"""What one session keeps: few things under their keys, in ``st.session_state`` only.

Streamlit's caches are shared by all users; patient pixels and what follows from them are never put there.
"""

from collections.abc import Callable
from typing import TypeVar

import streamlit as st

_T = TypeVar("_T")


def keep(cache: str, key: str, limit: int, make: Callable[[], _T]) -> _T:
    """Returns what this session keeps under a key, made if need be; the oldest are dropped beyond the limit."""
    kept: dict[str, _T] = st.session_state.setdefault(cache, {})
    value = kept.pop(key) if key in kept else make()
    kept[key] = value
    while len(kept) > limit:
        del kept[next(iter(kept))]
    return value
