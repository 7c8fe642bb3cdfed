"""Performance: how good the model is and how far that can be trusted, one disease and one question at a time."""

from collections.abc import Callable
from functools import partial

import streamlit as st

from sslmri.cohorts.protocols import EVIDENCE_FOLDERS
from sslmri.dashboard.layout import require_model, start_page
from sslmri.dashboard.performance import sections, tables
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
with sections.sticky():
    left, right = st.columns([3, 2])  # so that the second choice stays in its place while the first one is loaded
key = left.segmented_control(
    "Disease",
    diseases,
    format_func=partial(sections.grade_of, metrics[st.session_state.get("split", card.training.protocol)]),
    required=True,
    wrap=True,
    default=diseases[0],
    key="disease",
)
protocol = right.segmented_control(
    "Split",
    protocols,
    format_func=lambda name: tables.SPLIT_TITLES[name],
    required=True,
    wrap=True,
    default=card.training.protocol,
    key="split",
)
disease, evidence = DISEASES[key], card.folder / EVIDENCE_FOLDERS[protocol]
chosen = metrics[protocol]
result = chosen.diseases.get(key) if chosen else None


def of_split(draw: sections.Draw) -> Callable[[], object]:
    """Returns what draws a section from the evidence of the split, or says that there is none."""
    if result is None:
        return partial(st.info, sections.not_measured(card, protocol))
    return partial(draw, card, disease, result, evidence)


of_model = {
    "Shortcuts": partial(sections.draw_controls, card, disease),
    "Label efficiency": partial(draw_label_efficiency, card, disease),
}
shown: dict[str, Callable[[], object]] = {
    "Summary": partial(sections.draw_summary, card, disease, metrics, protocol),
    "Per class": of_split(sections.draw_classes),
    "Curves": of_split(sections.draw_curves),
    "Calibration": of_split(sections.draw_calibration),
    **of_model,
    "Errors": of_split(sections.draw_errors),
}
for tab, (name, draw) in zip(st.tabs(list(shown), key="show", bind="query-params"), shown.items(), strict=True):
    if tab.open:
        with tab:
            if name in of_model and protocol != card.training.protocol:
                st.caption(f"Only of the {tables.SPLIT_TITLES[card.training.protocol]}.")
            draw()
