"""Who may see the pages: everyone who reaches the server, or only users of an OpenID Connect provider.

Sign-in is Streamlit's own, set up by ``[auth]`` in its secrets, which hold nothing else here. A file of secrets that
exists means sign-in, whatever it contains, and so does one that was named at the start and is missing: a typing error
must not open the pages.
"""

from collections.abc import Mapping
from pathlib import Path

import streamlit as st
from streamlit.errors import StreamlitAuthError, StreamlitSecretNotFoundError

from sslmri.dashboard.server.streamlit_internals import are_secrets_required, secrets_files

_NOT_SET_UP = "Sign-in is not set up correctly. Ask whoever runs this server to check [auth] in its secrets."
_seen: set[str] = set()  # a file that existed once counts as long as the server runs


def is_needed() -> bool:
    """Returns whether users have to sign in."""
    names = secrets_files()
    _seen.update(name for name in names if Path(name).exists())
    return not _seen.isdisjoint(names) or are_secrets_required()


def is_authorised(user: Mapping[str, object] | None = None) -> bool:
    """Returns whether a user, as the provider describes them, may see the pages; by default this session's user.

    Where ``[access]`` of the secrets lists ``allowed`` addresses or domains (``@example.org``), the provider must have
    verified the address; without a list the provider alone decides.
    """
    user = st.user.to_dict() if user is None else user
    if not is_needed():
        return True
    if user.get("is_logged_in") is not True:
        return False
    try:
        allowed = st.secrets.get("access", {}).get("allowed")
    except StreamlitSecretNotFoundError:
        return False
    if allowed is None:
        return True
    address = str(user.get("email", "")).lower()
    accepted = {address, address[address.rfind("@") :]} - {""}
    return user.get("email_verified") is True and not accepted.isdisjoint(entry.lower() for entry in allowed)


def require_authorised(notice: str) -> None:
    """Ends the page for a user who may not see it, with the notice, one sentence and a button."""
    if is_authorised():
        return
    st.caption(notice)
    if st.user.to_dict().get("is_logged_in"):
        st.info("You are signed in, but your address is not on the list of this dashboard.")
        draw_sign_out()
    elif not _is_set_up():
        st.error(_NOT_SET_UP)
    else:
        st.info("Sign in to see this dashboard.")
        if st.button("Sign in", type="primary"):
            try:
                st.login()
            except StreamlitAuthError:  # its message names the settings
                st.error(_NOT_SET_UP)
    st.stop()


def draw_sign_out() -> None:
    """Draws the sign-out button for a user who signed in."""
    if st.user.to_dict().get("is_logged_in"):
        st.button("Sign out", on_click=st.logout, type="tertiary")


def _is_set_up() -> bool:
    try:
        return "auth" in st.secrets
    except StreamlitSecretNotFoundError:  # unreadable
        return False
