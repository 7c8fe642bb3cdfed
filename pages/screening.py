"""Screening: a scan in, a finding for each disease out, beside what it rests on."""

import streamlit as st

from sslmri.dashboard.evidence import find_unseen_metrics, found_or_said
from sslmri.dashboard.findings import choose_outcome, draw_findings, draw_warnings
from sslmri.dashboard.frame import require_model, start_page
from sslmri.dashboard.gallery import draw_gallery
from sslmri.dashboard.intake import ask_for_scans
from sslmri.dashboard.review import draw_review
from sslmri.dashboard.similar import draw_similar
from sslmri.dashboard.state import load_screener, scan_of, screen_uploads, true_mask
from sslmri.dashboard.viewer import choose_finding, draw_viewer
from sslmri.dashboard.words import literal

start_page("Screening")
card = require_model("This page screens a brain-MRI scan for each disease and shows what the answer rests on.")

uploads = ask_for_scans()
if not uploads:
    st.info("Drop a scan, or open a simulated patient: each disease that applies gets a finding and a map.")
    draw_gallery()
    st.stop()

screener = load_screener(card)
outcomes = screen_uploads(screener, uploads)
for outcome in outcomes:
    if outcome.refusal:
        st.error(literal(outcome.refusal))
chosen = choose_outcome(outcomes)
screening = outcomes[chosen].screening if chosen is not None else None
if chosen is None or screening is None:
    st.stop()

metrics = found_or_said(find_unseen_metrics, card)
left, right = st.columns([11, 9], gap="large")
with left:
    st.text(screening.name)
    finding = choose_finding(screening)
    draw_viewer(screener, scan_of(uploads[chosen]), screening, finding, true_mask(uploads[chosen]))
    draw_warnings(screening)
with right:
    draw_findings(card, screening, finding.disease if finding else None, metrics)

st.divider()
left, right = st.columns([9, 11], gap="large")
with left:
    draw_similar(screener, screening, finding)
with right:
    draw_review(card, screening, outcomes[chosen].token, metrics)
