"""Data: classes, intensities, sizes and limitations of the training data, or of data that the user names."""

import streamlit as st

from sslmri.dashboard.data import summary, summary_charts
from sslmri.dashboard.data.examples import draw_records, find_records
from sslmri.dashboard.data.source import ask_for_data, summarise_named
from sslmri.dashboard.data.summary import find_summary
from sslmri.dashboard.layout import find_card, start_page
from sslmri.dashboard.section import draw_chart, draw_table
from sslmri.dashboard.text import count, escape_markdown, in_order
from sslmri.diseases import DISEASES
from sslmri.errors import ManifestError, ModelError
from sslmri.scans.slices import Preparation

start_page("Data")
path = ask_for_data()
card = find_card()
try:
    data = summarise_named(path, card) if path else find_summary(card)
    records = find_records(path)
except (ManifestError, ModelError) as error:
    st.error(escape_markdown(str(error)))
    st.stop()
if data is None:
    st.info("No model with a summary of its data. Run `python train.py all`, or enter the path of a manifest above.")
    st.stop()
diseases = in_order(data["classes"]["disease"])
if not diseases:
    st.info("These data contain no labelled training images.")
    st.stop()

key = st.segmented_control(
    "Disease",
    diseases,
    format_func=lambda key: DISEASES[key].title,
    default=diseases[0],
    required=True,
    wrap=True,
)
disease = DISEASES[key]
own = summary.of_disease(data, disease)
classes = summary.classes(own)
st.markdown(
    f"**{count(int(classes['groups'].sum()), 'group')}** with **{count(int(classes['slices'].sum()), 'slice')}**. "
    f"{summary.meaning_of_group(own)}"
)

left, right = st.columns([3, 2], gap="large")
with left:
    draw_chart(
        f"{disease.title}: class balance",
        summary_charts.balance(classes, disease),
        classes,
        f"balance-{key}",
        "Groups and slices per class. No group is in two splits.",
    )
    head = card.heads.get(key) if card and not path else None
    if head is not None:
        training = summary.balancing(head)
        draw_chart(
            "Training slices before and after balancing",
            summary_charts.balancing(training, disease),
            training,
            f"balancing-{key}",
            summary.balancing_rule(head),
        )
with right, st.container(border=True):
    st.header("Known limitations of these data", anchor=False)
    faults = [f"- {escape_markdown(fault)}" for fault in own["faults"]["text"]]
    st.markdown("\n".join(faults) or "None detected. Other problems may remain.")

densities, quantiles, sizes = summary.densities(own, disease), summary.intensities(own, disease), own["sizes"]
left, right = st.columns(2, gap="large")
with left:
    draw_chart(
        "Intensities inside the head, by class",
        summary_charts.density(densities, quantiles, disease),
        densities,
        f"intensities-{key}",
        "A sample of files, prepared as for training and screening.",
    )
with right:
    if len(sizes) > sizes["cohort"].nunique():
        draw_chart("Image sizes in the sample, by cohort", summary_charts.size_bubbles(sizes), sizes, f"sizes-{key}")
    else:
        draw_table("Image sizes in the sample", sizes, f"sizes-{key}")
    draw_table("File formats", own["formats"], f"formats-{key}")
draw_table(
    "Intensity quantiles",
    quantiles,
    f"quantiles-{key}",
    "Contrast: standard deviation inside the head, averaged over slices.",
)
draw_records(records, disease, card.encoder.preparation if card else Preparation())
draw_table(
    "Records by cohort and use",
    summary.uses(data),
    "uses",
    "Only records with the use train are in a split.",
)
