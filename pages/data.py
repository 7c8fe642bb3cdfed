"""Data: classes, grey values, sizes and faults of the data that a model learned from, or that the user names."""

import streamlit as st

from sslmri.dashboard import cardtables, datacharts, datatables
from sslmri.dashboard.datasource import ask_for_data, head_of_model, summarise_named, summary_of_model
from sslmri.dashboard.frame import start_page
from sslmri.dashboard.panel import draw_chart, draw_table
from sslmri.dashboard.words import count, literal
from sslmri.diseases import DISEASES
from sslmri.errors import ManifestError, ModelError

start_page("Data")
path = ask_for_data()
try:
    summary = summarise_named(path) if path else summary_of_model()
except (ManifestError, ModelError) as error:
    st.error(literal(str(error)))
    st.stop()
if summary is None:
    st.info(
        "There is no model with a summary of its data yet: run `python train.py all`, or name a manifest above to look "
        "at data before training."
    )
    st.stop()
if not datatables.diseases(summary):
    st.info("These data hold no labelled picture for training.")
    st.stop()

key = st.segmented_control(
    "Disease",
    datatables.diseases(summary),
    format_func=lambda key: DISEASES[key].title,
    default=datatables.diseases(summary)[0],
    required=True,
    wrap=True,
)
disease = DISEASES[key]
classes = datatables.classes(summary, disease)
n_groups, n_slices = datatables.totals(classes)
meaning = datatables.meaning_of_group(summary, disease)
st.markdown(f"**{count(n_groups, 'group')}** with **{count(n_slices, 'slice')}**. {meaning}")

left, right = st.columns([3, 2], gap="large")
with left:
    draw_chart(
        f"{disease.title}: class balance",
        datacharts.balance(classes, disease),
        classes,
        f"balance-{key}",
        "Groups and slices of each class; the splits never share a group.",
    )
    head = None if path else head_of_model(disease.key)
    if head is not None:
        training = cardtables.balancing(head)
        draw_chart(
            "Training slices before and after balancing",
            datacharts.balancing(training, disease),
            training,
            f"balancing-{key}",
            cardtables.balancing_rule(head),
        )
with right, st.container(border=True):
    st.markdown("**What is wrong with these data**")
    faults = datatables.faults(summary, disease)
    for fault in faults:
        st.markdown(f"- {literal(fault)}")
    if not faults:
        st.markdown("Nothing was found; that is no proof that nothing is wrong.")

densities, quantiles = datatables.densities(summary, disease), datatables.intensities(summary, disease)
sizes = datatables.sizes(summary, disease)
left, right = st.columns(2, gap="large")
with left:
    draw_chart(
        "Grey values inside the head, by class",
        datacharts.density(densities, quantiles, disease),
        densities,
        f"grey-values-{key}",
        "Of a sample of files, after the preparation that training and screening share.",
    )
with right:
    draw_chart("Image sizes in the sample, by cohort", datacharts.size_bubbles(sizes), sizes, f"sizes-{key}")
draw_table(
    "Quantiles of the grey values",
    quantiles,
    f"quantiles-{key}",
    "Contrast is the standard deviation inside the head, as a mean over slices.",
)
left, right = st.columns(2, gap="large")
with left:
    draw_table("Image sizes", sizes, f"size-table-{key}")
with right:
    draw_table("File formats", datatables.formats(summary, disease), f"formats-{key}")
draw_table(
    "All records by cohort and use",
    datatables.uses(summary),
    "uses",
    "Only records whose use is train are in a split; the others serve the purpose named.",
)
