"""The loaded model, which all sessions share: the weights are not user data."""

from threading import Lock
from typing import TYPE_CHECKING

from sslmri.errors import ModelError
from sslmri.models.cards import ModelCard

if TYPE_CHECKING:  # the other pages never load torch
    from sslmri.screening.screener import Screener

_screeners: dict[str, "Screener"] = {}  # the one in use, under the hash of its model
_refused: set[str] = set()  # hashes of models whose cards are sound and whose weights are not
_loading = Lock()


def share_screener(card: ModelCard) -> "Screener":
    """Returns the screener of a model that all sessions share, loaded on the first request.

    Raises:
        ModelError: the weights cannot be trusted.
    """
    with _loading:
        if not is_loaded(card):
            from sslmri.screening.screener import Screener

            try:
                loaded = Screener.load(card.folder)
            except ModelError:
                _refused.add(card.sha256)
                raise
            if loaded.card.sha256 != card.sha256:
                raise ModelError(f"The model in {card.folder} was replaced while it was being loaded. Try again.")
            _screeners.clear()
            _screeners[card.sha256] = loaded
        return _screeners[card.sha256]


def is_loaded(card: ModelCard) -> bool:
    """Returns whether the screener of a model is loaded."""
    return card.sha256 in _screeners


def is_refused(card: ModelCard) -> bool:
    """Returns whether the weights of a model with sound cards were read and cannot be trusted."""
    return card.sha256 in _refused
