"""Performance: how good the model is and how far that can be trusted, one disease and one question at a time."""

from functools import partial

import streamlit as st

from sslmri.dashboard.layout import require_model, start_page
from sslmri.dashboard.performance import sections, tables
from sslmri.dashboard.performance.controls import draw_controls
from sslmri.dashboard.performance.efficiency import draw_label_efficiency
from sslmri.dashboard.section import try_read
from sslmri.dashboard.text import escape_markdown, in_order
from sslmri.diseases import DISEASES
from sslmri.models.evidence import Metrics, find_evidence

start_page("Performance")
card = require_model("This page shows how good the model is on data it was not trained on.")
protocols = list(tables.SPLIT_TITLES)
metrics = {protocol: try_read(find_evidence, card, Metrics, protocol) for protocol in protocols}
diseases = in_order({key for measured in metrics.values() if measured for key in measured.diseases})
if not diseases:
    st.info(f"{sections.not_measured(card, card.training.protocol)} Then load this page again.")
    st.stop()

if card.evidence_note:
    st.caption(escape_markdown(card.evidence_note))
with sections.sticky(), st.container(horizontal=True, gap="medium"):
    key = st.segmented_control(
        "Disease",
        diseases,
        format_func=partial(sections.grade_of, metrics[st.session_state.get("split", card.training.protocol)]),
        required=True,
        wrap=True,
        default=diseases[0],
        key="disease",
    )
    protocol = st.segmented_control(
        "Split",
        protocols,
        format_func=lambda name: tables.SPLIT_TITLES[name],
        required=True,
        wrap=True,
        default=card.training.protocol,
        key="split",
    )
disease, errors = DISEASES[key], partial(sections.draw_errors, preparation=card.encoder.preparation)
shown = {
    "Summary": partial(sections.draw_summary, disease, metrics, protocol, card),
    "Per class": partial(sections.draw_measured, sections.draw_classes, disease, metrics, protocol, card),
    "Curves": partial(sections.draw_measured, sections.draw_curves, disease, metrics, protocol, card),
    "Calibration": partial(sections.draw_measured, sections.draw_calibration, disease, metrics, protocol, card),
    "Shortcuts": partial(draw_controls, card, disease),
    "Label efficiency": partial(draw_label_efficiency, card, disease),
    "Errors": partial(sections.draw_measured, errors, disease, metrics, protocol, card),
}
for tab, draw in zip(st.tabs(list(shown), key="show", bind="query-params"), shown.values(), strict=True):
    if tab.open:
        with tab:
            draw()
