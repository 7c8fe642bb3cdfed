"""Encoder: what the shared encoder is, how it was pre-trained, and what its features hold."""

import streamlit as st

from sslmri.dashboard import encoderpanel
from sslmri.dashboard.frame import require_model, start_page

start_page("Encoder")
card = require_model("This page shows what the encoder learned and how its features lie.")

encoderpanel.draw_facts(card)
st.subheader("Pre-training")
encoderpanel.draw_pretraining(card)
st.subheader("Map of the features")
encoderpanel.draw_map(card)
