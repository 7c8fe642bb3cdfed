"""Colours with a meaning: the reference grey-blue, stages in one ramp, types in hues safe for colour-blind readers."""

from functools import partial
from itertools import cycle

import streamlit as st

from sslmri.diseases import DISEASES, Disease

REFERENCE = "#8a9bb0"
MISSING = "#a6adb4"  # what cannot be estimated or was never learned: hatched, and said in words
ANY = "#4f5b66"  # all classes but the reference together
_RAMP = ("#e8b863", "#d8842f", "#a4491b")  # light to dark with severity; each is seen on white and on black
_HUES = ("#56b4e9", "#e69f00", "#cc79a7")  # Okabe and Ito 2008
HUES = ("#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#d55e00")  # without a meaning, for cohorts; or one of each disease
STATUSES = {"flagged": _RAMP[1], "inconclusive": ANY, "not flagged": REFERENCE}


def _configured(option: str) -> str:
    """Returns a colour of the theme that the reader chose, from ``.streamlit/config.toml``."""
    return str(st.get_option(f"theme.{st.context.theme.type or 'light'}.{option}"))


accent = partial(_configured, "primaryColor")  # the only one of the page
ink = partial(_configured, "textColor")  # of text and lines
faint = partial(_configured, "secondaryBackgroundColor")  # of an empty cell: just seen on the page
page = partial(_configured, "backgroundColor")


def faded(colour: str, opacity: float) -> str:
    """Returns a colour blended with the page's at an opacity: opaque, so that a readable text colour can be chosen."""
    own, ground = (bytes.fromhex(code[1:]) for code in (colour, page()))
    return "#" + bytes(round(opacity * a + (1 - opacity) * b) for a, b in zip(own, ground, strict=True)).hex()


def class_colours(disease: Disease) -> dict[str, str]:
    """Returns the colour of each class of a disease; with many classes colours come again."""
    ramp, others = _RAMP if disease.is_ordinal else _HUES, disease.classes[1:]
    colours = (_RAMP[1],) if len(others) == 1 else ramp
    return {disease.reference: REFERENCE} | {label: colours[i % len(colours)] for i, label in enumerate(others)}


def disease_colours() -> dict[str, str]:
    """Returns the colour of each disease by its title; with many diseases colours come again."""
    return dict(zip((disease.title for disease in DISEASES.values()), cycle(HUES), strict=False))
