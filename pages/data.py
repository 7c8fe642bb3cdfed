"""Data: classes, intensities, sizes and limitations of the training data, or of data that the user names."""

import streamlit as st

from sslmri.dashboard.about import card_tables
from sslmri.dashboard.data import summary_charts, summary_tables
from sslmri.dashboard.data.source import ask_for_data, head_of_model, summarise_named, summary_of_model
from sslmri.dashboard.layout import start_page
from sslmri.dashboard.section import draw_chart, draw_table
from sslmri.dashboard.text import count, escape_markdown
from sslmri.diseases import DISEASES
from sslmri.errors import ManifestError, ModelError

start_page("Data")
path = ask_for_data()
try:
    summary = summarise_named(path) if path else summary_of_model()
except (ManifestError, ModelError) as error:
    st.error(escape_markdown(str(error)))
    st.stop()
if summary is None:
    st.info("No model with a summary of its data. Run `python train.py all`, or enter the path of a manifest above.")
    st.stop()
if not summary_tables.diseases(summary):
    st.info("These data contain no labelled training images.")
    st.stop()

key = st.segmented_control(
    "Disease",
    summary_tables.diseases(summary),
    format_func=lambda key: DISEASES[key].title,
    default=summary_tables.diseases(summary)[0],
    required=True,
    wrap=True,
)
disease = DISEASES[key]
classes = summary_tables.classes(summary, disease)
n_groups, n_slices = summary_tables.totals(classes)
meaning = summary_tables.meaning_of_group(summary, disease)
st.markdown(f"**{count(n_groups, 'group')}** with **{count(n_slices, 'slice')}**. {meaning}")

left, right = st.columns([3, 2], gap="large")
with left:
    draw_chart(
        f"{disease.title}: class balance",
        summary_charts.balance(classes, disease),
        classes,
        f"balance-{key}",
        "Groups and slices per class. No group is in two splits.",
    )
    head = None if path else head_of_model(disease.key)
    if head is not None:
        training = card_tables.balancing(head)
        draw_chart(
            "Training slices before and after balancing",
            summary_charts.balancing(training, disease),
            training,
            f"balancing-{key}",
            card_tables.balancing_rule(head),
        )
with right, st.container(border=True):
    st.markdown("**Known limitations of these data**")
    faults = summary_tables.faults(summary, disease)
    for fault in faults:
        st.markdown(f"- {escape_markdown(fault)}")
    if not faults:
        st.markdown("None detected. Other problems may remain.")

densities, quantiles = summary_tables.densities(summary, disease), summary_tables.intensities(summary, disease)
sizes = summary_tables.sizes(summary, disease)
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
    draw_chart("Image sizes in the sample, by cohort", summary_charts.size_bubbles(sizes), sizes, f"sizes-{key}")
draw_table(
    "Intensity quantiles",
    quantiles,
    f"quantiles-{key}",
    "Contrast: standard deviation inside the head, averaged over slices.",
)
left, right = st.columns(2, gap="large")
with left:
    draw_table("Image sizes", sizes, f"size-table-{key}")
with right:
    draw_table("File formats", summary_tables.formats(summary, disease), f"formats-{key}")
draw_table(
    "Records by cohort and use",
    summary_tables.uses(summary),
    "uses",
    "Only records with the use train are in a split.",
)
