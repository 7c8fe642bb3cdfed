"""Data: classes, intensities, sizes and limitations of the training data, or of data that the user names."""

import streamlit as st

from sslmri.cohorts.registry import COHORTS, caveat_of
from sslmri.dashboard.data import summary, summary_charts
from sslmri.dashboard.data.examples import draw_records
from sslmri.dashboard.data.source import ask_for_data, read_named, training_records
from sslmri.dashboard.data.summary import find_summary
from sslmri.dashboard.layout import find_card, start_page
from sslmri.dashboard.section import draw_chart, draw_table, try_read
from sslmri.dashboard.text import count, escape_markdown, in_order
from sslmri.diseases import DISEASES
from sslmri.errors import ManifestError
from sslmri.scans.slices import Preparation

start_page("Data")
path = ask_for_data()
card = find_card()
preparation = card.encoder.preparation if card else Preparation()
named = None
try:
    named = read_named(path, preparation) if path else None
except ManifestError as error:
    st.error(f"{escape_markdown(str(error))} Shown below are the training data.")
if named is None:
    data, records = try_read(find_summary, card), training_records()
else:
    data, records = named
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
    head = card.heads.get(key) if card and not named else None
    if head is not None:
        draw_table(
            "Training slices before and after balancing",
            summary.balancing(head),
            f"balancing-{key}",
            summary.balancing_rule(head),
        )
with right, st.container(border=True):
    st.header("Known limitations of these data", anchor=False)
    cohorts = [name for name in own["use"]["cohort"].unique() if name in COHORTS]
    sources = (f"{name}: {COHORTS[name].terms}." for name in cohorts)
    faults = (*own["faults"]["text"], caveat_of(key, cohorts), *sources)
    st.markdown("\n".join(f"- {escape_markdown(fault)}" for fault in faults))

densities, quantiles = summary.densities(own, disease), summary.intensities(own, disease)
left, right = st.columns(2, gap="large")
with left:
    draw_chart(
        "Intensities inside the head, by class",
        summary_charts.density(densities, disease),
        densities,
        f"intensities-{key}",
        "A sample of files, prepared as for training and screening.",
    )
with right:
    draw_table("Files of the sample", summary.files(own), f"files-{key}", "Sizes in pixels.")
    contrast = "Contrast: standard deviation inside the head, averaged over slices."
    draw_table("Intensity quantiles", quantiles, f"quantiles-{key}", contrast)
draw_records(records, disease, preparation)
draw_table(
    "Records by cohort and use",
    summary.uses(own),
    f"uses-{key}",
    "Only records with the use train are in a split; localisation is for slices with outlined lesions, leak_demo for "
    "showing what a leak looks like.",
)
