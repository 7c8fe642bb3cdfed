"""About: the model card. Intended use, training data, performance, when no result is given, limits, and settings."""

import streamlit as st

from sslmri.dashboard.about import card_tables
from sslmri.dashboard.layout import require_model, start_page
from sslmri.dashboard.model_evidence import try_read
from sslmri.dashboard.section import draw_notes
from sslmri.models.evidence import GateTable, Metrics, find_evidence

start_page("About this model")
card = require_model("This page is the model card: intended use, training data, performance, limits.")

card_tables.draw_card(card, try_read(find_evidence, card, Metrics), try_read(find_evidence, card, GateTable))
draw_notes(card_tables.threshold_rules(card))
with st.expander("Settings of pre-training, fine-tuning and preparation"):
    st.json(card_tables.settings(card), expanded=2)
