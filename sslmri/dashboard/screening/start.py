"""The start of the screening page: what this is, how good it is, a finished example, and the simulated patients.

The thumbnails of the patients are stored next to this file; ``python -m tests.harness.thumbnails`` draws them again.
"""

from pathlib import Path

import streamlit as st

from sslmri.cohorts.patients import EXAMPLE, PATIENTS
from sslmri.dashboard.screening.examples import find_example, load_patient, truth_line
from sslmri.dashboard.screening.shared_model import share_screener
from sslmri.dashboard.screening.tiles import draw_tile
from sslmri.dashboard.screening.uploads import CHOSEN
from sslmri.dashboard.screening.viewer import draw_viewer, finding_in_view
from sslmri.diseases import DISEASES
from sslmri.models.cards import ModelCard
from sslmri.models.evidence import Metrics
from sslmri.models.key_measures import best_baseline, key_measures
from sslmri.screening.card_lines import headline, insufficient
from sslmri.text import count

_LEAD = (
    "**sslmri** screens a brain MRI for {} with one self-supervised encoder, and shows what each answer rests on. "
    "Drop a scan, or open a simulated patient."
)
_ABOUT = (
    "Not real patients: built from an average brain and selected as examples that this model flags. "
    "They show how the page works, not how accurate the model is: some are misclassified, and in the image style of "
    "the tumours a simulated head without one is flagged too."
)
THUMBNAILS = Path(__file__).parent / "thumbnails"
_CARD_WIDTH = 126  # four of them stand in a row next to the example
_GRADES = ("strong", "limited", "insufficient")
_N_RESULTS = 3


def draw_lead(card: ModelCard, metrics: Metrics | None) -> None:
    """Draws what this is, and one result of each of the classifiers with the best evidence, next to its baseline.

    It is of the types where a classifier names several: tumour or none is easier than it looks, because most images
    with and without a tumour come from different sources.
    """
    st.markdown(_LEAD.format(count(len(card.heads), "disease")))
    results = metrics.diseases.items() if metrics else ()
    best = sorted(results, key=lambda item: _GRADES.index(item[1].grade.grade))[:_N_RESULTS]
    for column, (key, result) in zip(st.columns(_N_RESULTS) if best else (), best, strict=False):
        row = {row.baseline: row for row in key_measures(result)}["types_accuracy" if result.types else "group_auroc"]
        column.markdown(
            f"**{DISEASES[key].title}: {row.estimate}**  \n{row.measure}. Best baseline: {best_baseline(result, row)}. "
            f"{count(row.n_groups, result.unit)} never trained on."
        )


def draw_start(card: ModelCard, metrics: Metrics | None) -> None:
    """Draws the gallery, next to a finished example where the server has screened it."""
    screening = find_example(card, EXAMPLE)
    if screening is None:
        draw_gallery()
        return
    folded = insufficient(metrics.diseases if metrics else {})
    scan, mask = load_patient(EXAMPLE)
    left, right = st.columns([9, 11], gap="medium")
    with left:
        st.markdown(f"**A simulated patient.** {headline(screening.summary, folded)}")
        st.markdown(f"{truth_line(EXAMPLE, screening.summary)} Blue: the true outline. Colour: the saliency map.")
        draw_gallery()
    with right, st.container(key="example"):
        draw_viewer(share_screener(card), scan, screening, finding_in_view(screening.summary, folded), mask)


def draw_gallery() -> None:
    """Draws a card for each simulated patient; a click anywhere on it opens the patient."""
    st.markdown("**Simulated patients**")
    st.caption(_ABOUT)
    with st.container(horizontal=True, gap="small"):
        for key, patient in PATIENTS.items():
            draw_tile(THUMBNAILS / f"{key}.png", patient.title, f"open-{key}", _CARD_WIDTH, (CHOSEN, key))
