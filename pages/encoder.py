"""Encoder: what the shared encoder is, how it was pre-trained, and how its features are distributed."""

import streamlit as st

from sslmri.dashboard.encoder import messages, sections, training
from sslmri.dashboard.layout import require_model, start_page
from sslmri.models.evidence import SequenceMetrics, find_evidence

start_page("Encoder")
card = require_model("This page shows how the encoder was trained and how its features are distributed.")

st.markdown(messages.facts(card, find_evidence(card, SequenceMetrics)))
st.header("Training", anchor=False)
training.draw_training(card, training.choose_run(card))
st.header("Map of the features", anchor=False)
sections.draw_map(card)
