"""Screening: a scan in, a finding for each disease out, beside what it rests on."""

import streamlit as st

from sslmri.dashboard.evidence import find_unseen_metrics, found_or_said
from sslmri.dashboard.findings import choose_outcome, draw_downloads, draw_findings, draw_warnings
from sslmri.dashboard.frame import require_model, start_page
from sslmri.dashboard.intake import ask_for_scans
from sslmri.dashboard.state import load_screener, screen_uploads
from sslmri.dashboard.viewer import choose_finding, draw_viewer
from sslmri.dashboard.words import literal

start_page("Screening")
card = require_model("This page screens a brain-MRI slice for each disease and shows what the answer rests on.")

uploads = ask_for_scans()
if not uploads:
    st.info("Drop one or more slices, or choose a simulated sample: each disease gets a finding and a map.")
    st.stop()

screener = load_screener(card)
outcomes = screen_uploads(screener, uploads)
for outcome in outcomes:
    if outcome.refusal:
        st.error(literal(outcome.refusal))
chosen = choose_outcome(outcomes)
if chosen is None or chosen.screening is None:
    st.stop()

screening = chosen.screening
left, right = st.columns([11, 9], gap="large")
with left:
    st.text(screening.name)
    finding = choose_finding(screening)
    draw_viewer(screener, screening, finding)
    draw_warnings(screening)
    draw_downloads(card, chosen)
with right:
    draw_findings(card, screening, finding.disease, found_or_said(find_unseen_metrics, card))
