"""Screening: a scan in, a finding for each disease out, beside what it rests on."""

import streamlit as st

from sslmri.dashboard.layout import require_model, start_page
from sslmri.dashboard.model_evidence import find_unseen_metrics, try_read
from sslmri.dashboard.screening.findings import choose_outcome, draw_findings, draw_warnings
from sslmri.dashboard.screening.gallery import draw_gallery
from sslmri.dashboard.screening.intake import ask_for_scans
from sslmri.dashboard.screening.review import draw_review
from sslmri.dashboard.screening.similar import draw_similar
from sslmri.dashboard.screening.state import load_screener, scan_of, screen_uploads, true_mask
from sslmri.dashboard.screening.viewer import choose_finding, draw_viewer
from sslmri.dashboard.text import escape_markdown

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
        st.error(escape_markdown(outcome.refusal))
chosen = choose_outcome(outcomes)
screening = outcomes[chosen].screening if chosen is not None else None
if chosen is None or screening is None:
    st.stop()

metrics = try_read(find_unseen_metrics, card)
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
