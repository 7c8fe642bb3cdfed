"""Who may see the pages: everybody who reaches the server, or only people whom an OpenID Connect provider knows.

Sign-in is Streamlit's own, set up by ``[auth]`` in its secrets, which hold nothing else here. So a file of secrets
that is there means sign-in, whatever is written in it, and so does one that was asked for by name and is not there: a
slip of the pen must not open the pages.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit import config
from streamlit.errors import StreamlitAuthError, StreamlitSecretNotFoundError

_LOCKED = (
    "Expected [auth] in the secrets to set up sign-in, got settings that cannot be used: ask whoever runs this server."
)
_found: set[str] = set()  # what was there once counts as long as the server runs


def is_needed() -> bool:
    """Returns whether a visitor has to sign in."""
    names = config.get_option("secrets.files")
    _found.update(name for name in names if Path(name).exists())
    return not _found.isdisjoint(names) or config.is_manually_set("secrets.files")


def may_enter(person: Mapping[str, Any]) -> bool:
    """Returns whether a person, as the provider describes them, may see the pages.

    Where ``[access]`` of the secrets lists ``allowed`` addresses or domains (``@example.org``), the provider must have
    verified the address; without a list the provider decides alone.
    """
    if not is_needed():
        return True
    if person.get("is_logged_in") is not True:
        return False
    try:
        allowed = st.secrets.get("access", {}).get("allowed")
    except StreamlitSecretNotFoundError:
        return False
    if allowed is None:
        return True
    address = str(person.get("email", "")).lower()
    wanted = {address, address[address.rfind("@") :]} - {""}
    return person.get("email_verified") is True and not wanted.isdisjoint(entry.lower() for entry in allowed)


def is_authorised() -> bool:
    """Returns whether the visitor of this session may see the pages."""
    return may_enter(st.user.to_dict())


def require_authorised(notice: str) -> None:
    """Ends the page for a visitor who may not see it, with the notice, one sentence and a button."""
    if is_authorised():
        return
    st.caption(notice)
    if st.user.to_dict().get("is_logged_in"):
        st.info("You are signed in, but this address may not see this dashboard.")
        draw_sign_out()
    elif not _is_set_up():
        st.error(_LOCKED)
    else:
        st.info("Sign in to see this dashboard.")
        if st.button("Sign in", type="primary"):
            _sign_in()
    st.stop()


def _is_set_up() -> bool:
    try:
        return "auth" in st.secrets
    except StreamlitSecretNotFoundError:  # unreadable
        return False


def _sign_in() -> None:
    try:
        st.login()
    except StreamlitAuthError:  # its words name the settings
        st.error(_LOCKED)


def draw_sign_out() -> None:
    """Draws the button that ends the visit, for somebody who signed in."""
    if st.user.to_dict().get("is_logged_in"):
        st.button("Sign out", on_click=st.logout, type="tertiary")
