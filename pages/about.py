"""About: the model card. Intended use, training data, performance, when no result is given, limits, and settings."""

from dataclasses import asdict

import streamlit as st

from sslmri.dashboard.layout import require_model, start_page
from sslmri.dashboard.section import draw_notes, draw_table, try_read
from sslmri.dashboard.text import escape_markdown
from sslmri.models.evidence import GateTable, Metrics, find_evidence
from sslmri.models.model_card import card_sections, model_card_markdown

start_page("About this model")
card = require_model("This page is the model card: intended use, training data, performance, limits.")

metrics, gate = try_read(find_evidence, card, Metrics), try_read(find_evidence, card, GateTable)
for section in card_sections(card, metrics, gate, escape_markdown):
    st.subheader(section.title)
    st.markdown(section.text)
    for title, table in section.tables.items():
        draw_table(title, table, title.split(",")[0].lower().replace(" ", "-"))
document = model_card_markdown(card, metrics, gate)
st.download_button("Download model card", document, "MODEL_CARD.md", "text/markdown", on_click="ignore")
draw_notes(list(dict.fromkeys(head.threshold_rule for head in card.heads.values())))
with st.expander("Settings of pre-training, fine-tuning and preparation"):
    settings = {
        "pre-training": card.encoder.pretraining,
        "fine-tuning": {key: head.finetuning for key, head in card.heads.items()},
        "preparation": asdict(card.encoder.preparation),
        "kNN probe": card.encoder.knn,
    }
    st.json(settings, expanded=2)
