"""Screening: a scan in, a finding and a saliency map for each disease out."""

import streamlit as st

from sslmri.dashboard.layout import require_model, start_page
from sslmri.dashboard.screening.examples import load_patient, truth_line
from sslmri.dashboard.screening.findings import choose_scan, draw_findings
from sslmri.dashboard.screening.review import draw_report
from sslmri.dashboard.screening.sequence import choose_sequence
from sslmri.dashboard.screening.shared_model import share_screener
from sslmri.dashboard.screening.similar import draw_similar
from sslmri.dashboard.screening.start import draw_gallery, draw_lead, draw_start
from sslmri.dashboard.screening.state import in_view, scan_of, screen_uploads, with_choice
from sslmri.dashboard.screening.uploads import CHOSEN, ask_for_scans, draw_open, is_open
from sslmri.dashboard.screening.viewer import CANVAS, choose_original, draw_viewer, finding_in_view, is_map_on
from sslmri.dashboard.section import draw_notes, try_read
from sslmri.dashboard.text import escape_markdown
from sslmri.models.evidence import Controls, find_evidence, find_unseen_metrics
from sslmri.screening.card_lines import headline, insufficient
from sslmri.screening.outcome import Refusal, Screening

start_page("Screening")
card = require_model("This page screens a brain MRI for each disease and shows what each result is based on.")

st.html(CANVAS / "page.css")
metrics = try_read(find_unseen_metrics, card)
if is_open():
    st.empty()  # what the start page has here, and below the columns, would be seen until the scan is read and screened
    top, other = st.columns([13, 7], vertical_alignment="center")
    st.empty()
else:
    with st.container():
        draw_lead(card, metrics)
    top = other = st.container()
with other:
    uploads = ask_for_scans()
if not uploads:
    with st.container():
        draw_start(card, metrics)
    st.stop()

with st.spinner("Loading the model"):
    screener = share_screener(card)
screened = screen_uploads(screener, uploads)
for upload, one in zip(uploads, screened, strict=True):
    if isinstance(one.result, Refusal):
        st.error(escape_markdown(f"{upload.name}: {one.result.reason}"))
found = {index: one.result for index, one in enumerate(screened) if isinstance(one.result, Screening)}
names = {index: uploads[index].name for index in found}
folded = insufficient(metrics.diseases if metrics else {})
chosen = choose_scan(names, found, f"view-{'-'.join(screened[index].token for index in names)}", folded)
if chosen is None:
    draw_gallery()
    st.stop()

upload, screening = uploads[chosen], found[chosen]
left, right = st.columns([9, 11], gap="medium")
cards, below = left.container(), left.container()
with below:
    if choice := choose_sequence(screening):
        screening = with_choice(screener, upload, screening, choice)
summary, scan = screening.summary, scan_of(upload)
finding = finding_in_view(summary, folded)
with top:
    if not summary.reason:
        st.markdown(headline(summary, folded))
with cards:
    if upload.patient:
        draw_open(upload.name, CHOSEN)
        st.markdown(escape_markdown(truth_line(upload.patient, summary)))
    else:
        st.text(upload.name)
    controls = try_read(find_evidence, card, Controls)
    shown = finding.disease if finding and is_map_on(summary, finding) else None
    draw_findings(card, summary, shown, metrics, controls, scan.info.decade)
    draw_notes([notice.text for notice in summary.warnings if notice.disease is None])
with right:
    mask = load_patient(upload.patient)[1] if upload.patient else None
    seen, viewed = in_view(scan, screening, finding, choose_original(summary, finding))
    has_mask = mask is not None and mask.any() and seen is scan
    draw_viewer(screener, seen, viewed, finding, mask if has_mask else None)

st.divider()
left, right = st.columns([9, 11], gap="large")
with left:
    draw_similar(screener, screening, finding)
with right:
    draw_report(card, screening, upload, screened[chosen].token, metrics)
