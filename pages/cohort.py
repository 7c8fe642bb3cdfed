"""Cohort: many scans in, one worklist out: the most urgent first, to be sorted, opened and saved."""

import streamlit as st

from sslmri.dashboard.cohort.intake import take_in
from sslmri.dashboard.cohort.sections import (
    choose_entries,
    draw_counts,
    draw_exports,
    draw_list,
    draw_summary,
    without_result,
)
from sslmri.dashboard.cohort.session import open_cohort
from sslmri.dashboard.layout import require_model, start_page
from sslmri.dashboard.screening.viewer import CANVAS
from sslmri.dashboard.section import try_read
from sslmri.models.evidence import find_unseen_metrics
from sslmri.screening.card_lines import insufficient

start_page("Cohort")
card = require_model("This page screens many scans and lists the findings.")
st.html(CANVAS / "page.css")
cohort, metrics = open_cohort(card), try_read(find_unseen_metrics, card)
cohort.folded = insufficient(metrics.diseases if metrics else {})
take_in(card, cohort)
if not cohort.entries:
    st.stop()

draw_summary(cohort)
shown = []
if len(without_result(cohort)) < len(cohort.entries):
    shown = choose_entries(cohort)
    draw_list(cohort, shown)
draw_exports(card, cohort, shown, metrics)
draw_counts(shown)
