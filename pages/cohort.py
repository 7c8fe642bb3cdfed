"""Cohort: many scans in, one list of findings out, to be sorted, opened and saved."""

import streamlit as st

from sslmri.dashboard.cohort import cohort_charts, cohort_tables
from sslmri.dashboard.cohort.cohort_sections import choose_rows, draw_exports, draw_list, draw_summary, take_in
from sslmri.dashboard.cohort.session import open_cohort
from sslmri.dashboard.layout import require_model, start_page
from sslmri.dashboard.model_evidence import find_unseen_metrics, try_read
from sslmri.dashboard.section import draw_chart

start_page("Cohort")
card = require_model("This page screens many scans and lists what was found.")
cohort = open_cohort(card)
take_in(card, cohort)
if not cohort.rows:
    st.info("Drop the scans of many people: they are listed with their findings, to be sorted, opened and saved.")
    st.stop()

draw_summary(cohort)
table = cohort_tables.findings_table(cohort.rows.values())
shown = choose_rows(table)
draw_list(cohort, shown)
draw_exports(card, cohort, shown, try_read(find_unseen_metrics, card))

statuses, classes = cohort_tables.status_counts(shown), cohort_tables.class_counts(shown)
left, right = st.columns(2, gap="large")
if len(statuses):
    with left:
        draw_chart("Findings by disease", cohort_charts.status_bars(statuses), statuses, "cohort-findings")
if len(classes):
    with right:
        draw_chart(
            "Predicted classes, where the head applies", cohort_charts.class_bars(classes), classes, "cohort-classes"
        )
