"""Encoder: what the shared encoder is, how it was pre-trained, and what its features hold."""

import streamlit as st

from sslmri.dashboard.encoder import encoder_sections
from sslmri.dashboard.layout import require_model, start_page

start_page("Encoder")
card = require_model("This page shows what the encoder learned and how its features lie.")

encoder_sections.draw_facts(card)
st.subheader("Pre-training")
encoder_sections.draw_pretraining(card)
st.subheader("Map of the features")
encoder_sections.draw_map(card)
