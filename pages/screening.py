"""Screening: a scan in, a finding and a saliency map for each disease out."""

import streamlit as st

from sslmri.dashboard.layout import require_model, start_page
from sslmri.dashboard.screening.findings import choose_scan, draw_findings
from sslmri.dashboard.screening.gallery import draw_gallery
from sslmri.dashboard.screening.review import draw_review
from sslmri.dashboard.screening.sequence import choose_sequence
from sslmri.dashboard.screening.shared_model import load_screener
from sslmri.dashboard.screening.similar import draw_similar
from sslmri.dashboard.screening.state import in_view, scan_of, screen_uploads
from sslmri.dashboard.screening.uploads import PatientUpload, ask_for_scans
from sslmri.dashboard.screening.viewer import choose_finding, draw_viewer
from sslmri.dashboard.section import draw_notes, try_read
from sslmri.dashboard.text import escape_markdown
from sslmri.models.evidence import find_unseen_metrics
from sslmri.screening.outcome import Refusal, Screening, notice_line

start_page("Screening")
card = require_model("This page screens a brain MRI for each disease and shows what each result is based on.")

uploads = ask_for_scans()
if not uploads:
    st.info(
        "Drop a scan or open a simulated patient. You get a result and a saliency map for each disease the scan is "
        "suitable for."
    )
    draw_gallery()
    st.stop()

screener = load_screener(card)
screened = screen_uploads(screener, uploads)
for upload, one in zip(uploads, screened, strict=True):
    if isinstance(one.result, Refusal):
        st.error(escape_markdown(f"{upload.name}: {one.result.reason}"))
names = {index: uploads[index].name for index, one in enumerate(screened) if isinstance(one.result, Screening)}
chosen = choose_scan(names, f"view-{'-'.join(screened[index].token for index in names)}")
screening = screened[chosen].result if chosen is not None else None
if chosen is None or not isinstance(screening, Screening):
    st.stop()

upload, metrics = uploads[chosen], try_read(find_unseen_metrics, card)
left, right = st.columns([11, 9], gap="large")
with right:
    screening = choose_sequence(screening)
summary = screening.summary
with left:
    st.text(upload.name)
    finding = choose_finding(summary)
    mask = upload.true_mask() if isinstance(upload, PatientUpload) else None
    scan, viewed = in_view(scan_of(upload), screening, finding)
    draw_viewer(screener, scan, viewed, finding, mask if viewed is screening else None)
    draw_notes([notice_line(notice) for notice in summary.warnings])
with right:
    draw_findings(card, summary, finding.disease if finding else None, metrics)

st.divider()
left, right = st.columns([9, 11], gap="large")
with left:
    draw_similar(screener, screening, finding)
with right:
    draw_review(card, screening, upload.n_files, screened[chosen].token, metrics)
