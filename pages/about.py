"""About: the model card on one screen, its details folded: training data, all results, rejections, limits, settings."""

from dataclasses import asdict

import streamlit as st

from sslmri.cohorts.registry import GROUP, SUBJECT
from sslmri.dashboard.layout import require_model, start_page
from sslmri.dashboard.section import draw_notes, draw_table, try_read
from sslmri.dashboard.text import escape_markdown
from sslmri.models.evidence import GateTable, Metrics, find_evidence
from sslmri.models.model_card import RESULTS, card_sections, model_card_markdown

_MAIN = "AUROC of any disease"

start_page("About this model")
card = require_model("This page is the model card: intended use, training data, performance, limits.")

metrics, gate = try_read(find_evidence, card, Metrics), try_read(find_evidence, card, GateTable)
intended, *details = card_sections(card, metrics, gate, escape_markdown)
left, right = st.columns(2, gap="large")
with left:
    st.header(intended.title, anchor=False)
    st.markdown(intended.text)
with right:
    for section in details:
        if RESULTS in section.tables:
            table = section.tables[RESULTS]
            is_main = table["measure"].isin([f"{_MAIN}, {unit}s" for unit in (SUBJECT, GROUP)])
            main = table[is_main].drop(columns=["measure", "slices"])
            note = "95 % interval; the best baseline learned next to nothing from images."
            draw_table(f"{_MAIN}, by patient or image group", main, "main-results", note)
    st.page_link("pages/performance.py", label="All results on the Performance page")
    document = model_card_markdown(card, metrics, gate)
    st.download_button("Download model card", document, "MODEL_CARD.md", "text/markdown", on_click="ignore")
for section in details:
    with st.expander(section.title):
        st.markdown(section.text)
        for title, table in section.tables.items():
            draw_table(title, table, title.split(",")[0].lower().replace(" ", "-"))
        if section.title == "Weights":
            draw_notes(list(dict.fromkeys(head.threshold_rule for head in card.heads.values())))
with st.expander("Settings of pre-training, fine-tuning and preparation"):
    settings = {
        "pre-training": card.encoder.pretraining,
        "fine-tuning": {key: head.finetuning for key, head in card.heads.items()},
        "preparation": asdict(card.encoder.preparation),
        "kNN probe": card.encoder.knn,
    }
    st.json(settings, expanded=2)
