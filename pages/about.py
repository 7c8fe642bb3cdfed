"""About: the model card. For what, for whom, on what data, how good, when silent, and what it must not be used for."""

import streamlit as st

from sslmri.dashboard.about import card_tables
from sslmri.dashboard.layout import require_model, start_page
from sslmri.dashboard.model_evidence import find_summary, try_read
from sslmri.dashboard.performance import sections, tables
from sslmri.dashboard.section import draw_notes, draw_table
from sslmri.models.cards import INTENDED_USE
from sslmri.models.evidence import GateTable, Metrics, find_evidence, protocol_of

start_page("About this model")
card = require_model("This page is the model's card: for what it is, on what data it learned, how good it is.")

st.subheader("For what, for whom")
st.markdown(
    f"{INTENDED_USE} It is for researchers who study what an encoder that learned brain-MRI slices without labels "
    "(SimCLR) knows about diseases, and how far such figures can be trusted. It answers one question a disease:"
)
st.markdown(card_tables.questions(card))

st.subheader("What it must not be used for")
st.markdown(
    "- Diagnosis, triage, treatment, or telling a person about their health.\n"
    "- Scans of children, other body parts, CT, or contrasts other than those under *Limits of each head*.\n"
    "- Comparing scanners, hospitals or groups of people: source and disease may be mixed in the training data."
)

st.subheader("When it stays silent")
applicability = try_read(find_evidence, card, GateTable)
st.markdown(
    "- Between the two thresholds of a disease the finding is *indeterminate*.\n"
    "- A class that was never learned cannot be predicted, and is marked so.\n"
    "- A figure that rests on too few test groups is *not estimable* and has no number.\n"
    + card_tables.gate_sentence(applicability)
)
if applicability:
    table, key = card_tables.applicability(applicability), "applicability"
    draw_table("Share of slices that each head answers, by cohort", table, key, applicability.rule)
    draw_notes(card_tables.applicability_notes(applicability))

st.subheader("On what data")
st.markdown(card_tables.training_sentence(card, try_read(find_summary, card)))
draw_table("Cohorts and their terms", card_tables.cohorts(card), "cohorts")
draw_table("Training, validation and test data of each head", card_tables.head_counts(card), "head-counts")

st.subheader("How good")
metrics, protocol = try_read(find_evidence, card, Metrics), protocol_of(card)
if metrics is None:
    st.info(sections.not_measured(card, protocol))
else:
    draw_table(
        f"Figures under the {sections.split_of(protocol)}",
        tables.overview(metrics),
        "figures",
        "Best floor: the best of majority class, 1-NN and PCA + logistic regression on pixels.",
    )

st.subheader("Limits of each head")
st.markdown(card_tables.limits(card))

st.subheader("Hashes, versions, settings")
draw_table("Identity", card_tables.identity(card), "identity")
draw_table("Heads", card_tables.heads(card), "heads", "The top of the map's scale is in logits.")
draw_notes(card_tables.threshold_rules(card))
with st.expander("Settings of pre-training, fine-tuning and preparation"):
    st.json(card_tables.settings(card), expanded=2)
