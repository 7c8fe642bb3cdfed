"""What every page has in common: the model shown, the notice, the navigation, and what to do without a model."""

import os
import time
from functools import lru_cache
from pathlib import Path

import streamlit as st

from sslmri.dashboard.server.signin import draw_sign_out, is_authorised, require_authorised
from sslmri.dashboard.text import escape_markdown
from sslmri.diseases import load_diseases
from sslmri.errors import ModelError
from sslmri.models.cards import ModelCard
from sslmri.models.folder import MODEL_FILE, find_model, read_model_card
from sslmri.models.site import read_site
from sslmri.project import DEFAULT_MODEL
from sslmri.screening import register

NOTICE = "Research use only, not a medical device."
_AGREEMENT = "pages/agreement.py"  # listed where the server has a register
_PAGES = {
    "pages/screening.py": "Screening",
    "pages/cohort.py": "Cohort",
    "pages/data.py": "Data",
    "pages/performance.py": "Performance",
    "pages/encoder.py": "Encoder",
    _AGREEMENT: "Agreement",
    "pages/about.py": "About",
}
_HEAD = 40  # pixels, height of the title's row
_LARGE = 18  # pixels, 120 % of the usual size
_ROUTED = "is_routed"
_WIDENED_S = 0.1  # in which a browser makes the new page wide; what was drawn before would move


def model_folder() -> Path:
    """Returns the folder of the model to show: ``SSLMRI_MODEL``, else ``models/default``."""
    return Path(os.environ.get("SSLMRI_MODEL") or DEFAULT_MODEL)


def open_model() -> ModelCard:
    """Returns the card of the model to show.

    Raises:
        ModelError: there is no model, or one that cannot be trusted, or thresholds or diseases of this site that cannot
            be used.
    """
    load_diseases()
    folder = find_model(model_folder())
    try:
        stamps = tuple(sorted((path.name, path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()))
    except OSError as error:  # it is being replaced
        raise ModelError(f"The model {folder} cannot be read ({error.strerror}). Try again.") from error
    card = _read(str(folder), stamps)
    read_site(card.sha256)
    return card


@lru_cache(maxsize=4)
def _read(folder: str, stamps: tuple[tuple[str, int], ...]) -> ModelCard:
    return read_model_card(Path(folder))


def find_card() -> ModelCard | None:
    """Returns the card of the model to show, or None where there is none that can be trusted."""
    try:
        return open_model()
    except ModelError:
        return None


def require_model(purpose: str) -> ModelCard:
    """Returns the card of the model; without one, the page says what it is for, how to get a model, and ends."""
    try:
        return open_model()
    except ModelError as error:
        unusable = f"The model cannot be used. {escape_markdown(str(error))}"
        missing = f"There is no model in {escape_markdown(str(model_folder()))} yet."
        st.info(f"{purpose} {unusable if (find_model(model_folder()) / MODEL_FILE).exists() else missing}")
        st.markdown("To train one, run this in the project's folder and load this page again:")
        st.code("python train.py all", language="bash")
        st.markdown("To show a model in another folder, start the dashboard with its path:")
        st.code("SSLMRI_MODEL=path/to/model streamlit run app.py", language="bash")
        st.stop()


def choose_page() -> st.Page:
    """Returns the requested page and draws the navigation, for users who may see it."""
    if not st.session_state.get(_ROUTED):
        st.set_page_config(layout="wide")
        time.sleep(_WIDENED_S)
    st.session_state[_ROUTED] = True
    listed = {path: title for path, title in _PAGES.items() if path != _AGREEMENT or register.is_on()}
    pages = [st.Page(path, title=title, default=path == next(iter(listed))) for path, title in listed.items()]
    return st.navigation(pages, position="top" if is_authorised() else "hidden")


def start_page(title: str) -> None:
    """Draws the notice and the title. For a user who must sign in first the page ends here.

    Until the router has run once, Streamlit looks for a folder ``pages`` itself: a server whose first request is for
    another page than the first runs that page's file alone, without the router.
    """
    if not st.session_state.get(_ROUTED):
        choose_page()
        st.rerun()
    st.set_page_config(page_title=f"{title}, brain MRI, research use only", layout="wide")
    require_authorised(NOTICE)
    _draw_head(title)


def _draw_head(title: str) -> None:
    card = find_card()
    model = f"Model {escape_markdown(card.name)} ({card.sha256[:8]})." if card else "No model is loaded."
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.title(title, width="content")
        st.space("stretch")
        st.caption(f"{NOTICE} {model}", width="content")
        is_large = st.toggle("Large text", key="large-text", persist_state="session", help="For a presentation.")
        draw_sign_out()
        st.container(height=_HEAD, width=1, border=False)  # the row is as high before the switch is loaded
    if is_large:
        st.html(f"<style>html {{ font-size: {_LARGE}px !important; }}</style>")
