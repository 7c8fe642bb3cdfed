"""What the records of a manifest show beyond its summary: example slices, ages, and what the audit finds in them."""

import random
from collections import defaultdict

import pandas as pd
import streamlit as st

from sslmri.cohorts.audit import check_records
from sslmri.cohorts.manifest import Record
from sslmri.cohorts.splits import trainable
from sslmri.dashboard.section import draw_table
from sslmri.dashboard.training_images import draw_images
from sslmri.diseases import Disease, class_title
from sslmri.scans.slices import Preparation

_EXAMPLES = 6  # of each class and cohort
_WIDTH = 84  # pixels: a row of them fits into half of a wide page
_NO_RECORDS = (
    "Example slices, ages and the audit are shown where the training data are on this server, or for a manifest named "
    "above."
)
_CHECKED = (
    "Checks of the manifest itself. Copies, mirrored ones included, and files that cannot be read are found by "
    "`python -m sslmri audit`."
)


def draw_records(records: list[Record], disease: Disease, preparation: Preparation) -> None:
    """Draws example slices of each class and cohort, ages where known, and what the audit finds, of one disease."""
    own = [record for record in trainable(records) if record.disease == disease.key]
    if not own:
        st.caption(_NO_RECORDS)
        return
    left, right = st.columns(2, gap="large")
    with left:
        st.header("Example slices", anchor=False, help="Drawn at random, one of each group, prepared as for training.")
        for (label, cohort), drawn in examples(own, disease).items():
            st.caption(f"{class_title(label)}, {cohort}")
            cases = [(str(record.path), class_title(label)) for record in drawn]
            draw_images(cases, preparation, _WIDTH, is_example=True)
    with right:
        ages = age_table(own, disease)
        if len(ages):
            draw_table("Age, where known", ages, f"ages-{disease.key}")
        found = [(check.name, check.count, "; ".join(check.examples)) for check in check_records(own)]
        checks = pd.DataFrame(found, columns=["check", "found", "examples"])
        draw_table("Audit of the manifest", checks, f"audit-{disease.key}", _CHECKED)


def examples(records: list[Record], disease: Disease) -> dict[tuple[str, str], list[Record]]:
    """Returns a few records of each class and cohort, of different groups while there are enough, always the same."""
    parts: dict[tuple[str, str], dict[str, Record]] = defaultdict(dict)
    for record in random.Random(0).sample(records, len(records)):
        parts[str(record.label), record.cohort].setdefault(record.group_key, record)
    order = sorted(parts, key=lambda part: (disease.classes.index(part[0]), part[1]))
    return {part: list(parts[part].values())[:_EXAMPLES] for part in order}


def age_table(records: list[Record], disease: Disease) -> pd.DataFrame:
    """Returns one row per class with a known age: groups, those of known age, median and range of their ages."""
    rows = []
    for label in disease.classes:
        groups = {record.group_key: record.age for record in records if record.label == label}
        ages = pd.Series([age for age in groups.values() if age is not None], dtype=float)
        if len(ages):
            middle, low, high = f"{ages.median():.0f}", ages.min(), ages.max()
            rows.append((class_title(label), len(groups), len(ages), middle, f"{low:.0f} to {high:.0f}"))
    return pd.DataFrame(rows, columns=["class", "groups", "of known age", "median age", "range"])
