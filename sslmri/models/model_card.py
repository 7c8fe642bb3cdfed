"""The model card: what a model is for, what it was trained on, how well it does, and where it must not be used.

One content for ``MODEL_CARD.md`` and for the About page. No torch and no Streamlit here.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field

import pandas as pd

from sslmri.cohorts.protocols import Protocol
from sslmri.cohorts.registry import caveat_of, meaning_of, unit_of
from sslmri.cohorts.splits import SPLITS
from sslmri.diseases import DISEASES, Disease, class_title
from sslmri.models.cards import INTENDED_USE, Counts, HeadCard, ModelCard
from sslmri.models.evidence import GateTable, Metrics
from sslmri.models.folder import BANK_FILE
from sslmri.models.key_measures import BASELINE_TITLES, best_baseline, key_measures
from sslmri.models.metrics import DiseaseMetrics, Rate
from sslmri.text import count, in_order, markdown_table

_USERS = (
    "For researchers who study what an encoder pre-trained without labels (SimCLR) knows about diseases, and how far "
    "such results can be trusted. One classifier per disease:"
)
_FORBIDDEN = """\
Not for:

- diagnosis, triage, treatment, or informing a person about their health;
- children, other body parts, CT, or sequences other than those that a classifier was trained on;
- comparing scanners, hospitals or groups of patients: source and disease may be confounded in the training data."""
_LICENCE = (
    "The weights are for research use: they were trained on the cohorts listed above, each under its own terms. The "
    "code is under the Apache License 2.0."
)
SPLIT_RULES: dict[Protocol, str] = {
    "group-disjoint": "patient-disjoint split: no labelled patient (or image group) is in both training and test",
    "as-published": "random image split (as published): images are split at random, so patients are shared between "
    "training and test",
}
_REJECTED = {  # fields of GateRates
    "in_distribution": "in distribution",
    "unrelated": "of unrelated cohorts",
    "other_cohorts": "with cohorts of the same disease or sequences, which may pass legitimately",
    "synthetic": "synthetic images",
}
RESULTS = "Results compared with baselines"
_COUNTS = "Groups and slices of each classifier"
_Heads = Sequence[tuple[Disease, HeadCard]]


@dataclass(frozen=True)
class Section:
    """A section of the card: Markdown, then tables by their title."""

    title: str
    text: str
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)


def model_card_markdown(card: ModelCard, metrics: Metrics | None, gate: GateTable | None) -> str:
    """Returns the model card as a Markdown document, arguments as for ``card_sections``."""
    parts = [f"# Model card: {_escaped(card.name)}"]
    for section in card_sections(card, metrics, gate, _escaped):
        parts += [f"## {section.title}", section.text, tables_markdown(section.tables)]
    return "\n\n".join(filter(None, parts)) + "\n"


def tables_markdown(tables: Mapping[str, pd.DataFrame]) -> str:
    """Returns tables in Markdown, each below its title."""
    cells = {title: table.map(_escaped) for title, table in tables.items()}
    return "\n\n".join(f"**{title}**\n\n{markdown_table([*table], table.to_numpy())}" for title, table in cells.items())


def card_sections(
    card: ModelCard, metrics: Metrics | None, gate: GateTable | None, escape: Callable[[str], str]
) -> list[Section]:
    """Returns the sections of the model card.

    ``escape`` keeps text that comes from a file from being read as Markdown.
    """
    heads = [(DISEASES[key], card.heads[key]) for key in in_order(card.heads)]
    questions = "\n".join(f"- **{own.title}**: {own.question}. Trained on {own.sequences}." for own, _ in heads)
    cohorts = pd.DataFrame(_terms(card).items(), columns=["cohort", "source and terms"])
    return [
        Section("Intended use", "\n\n".join((f"{INTENDED_USE} {_USERS}", questions, _FORBIDDEN))),
        Section(
            "Training data",
            _training(card, escape),
            {"Cohorts and their terms": cohorts, _COUNTS: _counts(heads)},
        ),
        _performance(card, metrics, escape),
        Section("When no result is given", _no_result(card, gate, escape), gate_tables(gate) if gate else {}),
        Section("Known limits", "\n".join(_limits(card, heads, metrics, escape))),
        Section("Weights", _LICENCE, {"Identity": _identity(card), "Classifiers": _classifiers(heads)}),
    ]


def _training(card: ModelCard, escape: Callable[[str], str]) -> str:
    encoder, labelled = card.encoder.data, card.training
    sentences = (
        f"The encoder was trained without labels on **{count(encoder.counts.slices, 'slice')}** of "
        f"**{count(encoder.counts.groups, 'group')}**, the classifiers on "
        f"{count(labelled.counts.slices, 'labelled slice')} of {count(labelled.counts.groups, 'group')}. "
        f"{meaning_of(unit_of(_terms(card)))}",
        escape(card.encoder.start),
    )
    return " ".join(filter(None, sentences))


def _terms(card: ModelCard) -> dict[str, str]:
    """Returns the terms of each cohort that the model was trained on, by its name."""
    return dict(sorted((card.encoder.data.cohorts | card.training.cohorts).items()))


def _counts(heads: _Heads) -> pd.DataFrame:
    none = Counts(0, 0)
    rows = [
        {"disease": disease.title, "class": class_title(label)} | {key: asdict(counts.get(key, none)) for key in SPLITS}
        for disease, head in heads
        for label, counts in head.counts.items()
    ]
    return pd.json_normalize(rows, sep=": ").astype(str)


def _performance(card: ModelCard, metrics: Metrics | None, escape: Callable[[str], str]) -> Section:
    if metrics is None:
        return Section("Performance", "Not evaluated: run `python train.py evaluate`.")
    measured = {name for result in metrics.diseases.values() for name in result.baselines}
    baselines = ", ".join(title for name, title in BASELINE_TITLES.items() if name in measured)
    text = f"Test groups of a {SPLIT_RULES[metrics.protocol]}. Baselines: {baselines}."
    note = f"{escape(card.evidence_note)}\n\n" if card.evidence_note else ""
    return Section("Performance", note + text, {RESULTS: results_table(metrics.diseases)})


def results_table(results: Mapping[str, DiseaseMetrics]) -> pd.DataFrame:
    """Returns the key measures of each disease next to the best baseline."""
    rows = [
        {
            "disease": DISEASES[key].title,
            "measure": row.measure,
            "result (95 % interval)": "not estimable" if row.estimate.value is None else str(row.estimate),
            "best baseline": best_baseline(results[key], row),
            "test groups": str(row.n_groups),
            "slices": str(row.n_slices),
            "evidence": results[key].grade.grade,
        }
        for key in in_order(results)
        for row in key_measures(results[key])
    ]
    return pd.DataFrame(rows)


def _no_result(card: ModelCard, gate: GateTable | None, escape: Callable[[str], str]) -> str:
    lines = [
        "- Between the two thresholds of a disease the result is *inconclusive*.",
        "- A class without training data cannot be predicted, and is marked so.",
        "- A metric of too few test groups is *not estimable* and has no number.",
    ]
    if BANK_FILE not in card.files and gate is None:
        unchecked = "Whether an image is brain MRI at all is **not checked** by this model: every image gets a result."
        return "\n".join([*lines, f"- {unchecked}"])
    checked = (
        "- What is not recognised as brain MRI gets no result, and a classifier gives none for a scan that does not "
        "resemble its training data: it is *not assessed*, with the reason."
    )
    rule = "How many scans it rejects was not measured." if gate is None else escape(gate.rule)
    return "\n".join([*lines, checked, "", rule])


def gate_tables(gate: GateTable) -> dict[str, pd.DataFrame]:
    """Returns what the gate lets pass by cohort, and what it rejects, with a column for each classifier."""
    titles = {key: DISEASES[key].title for key in in_order(gate.diseases)}
    passed: dict[str, dict[str, str]] = {}
    for row in sorted(gate.rows, key=lambda row: list(titles).index(row.disease)):
        relation = "" if row.relation in ("unrelated", "not brain") else f", {row.relation}"
        cells = passed.setdefault(row.cohort, {"cohort": row.cohort, "slices": str(row.n_slices)})
        cells |= {"groups": str(row.n_groups), "brain MRI": _percent(row.fraction_brain)}
        cells[titles[row.disease]] = f"{_percent(row.fraction_in_distribution)}{relation}"
    rejected = [
        {"slices": name} | {titles[key]: percentage(getattr(gate.diseases[key], field)) for key in titles}
        for field, name in _REJECTED.items()
    ]
    return {
        "Slices that pass, by cohort": pd.DataFrame(passed.values()),
        "Slices rejected (95 % interval)": pd.DataFrame(rejected),
    }


def _limits(card: ModelCard, heads: _Heads, metrics: Metrics | None, escape: Callable[[str], str]) -> Iterator[str]:
    for disease, head in heads:
        result = metrics.diseases.get(disease.key) if metrics else None
        untrained = [f"No training data: {', '.join(map(class_title, head.untrained))}."] if head.untrained else []
        grade = [f"{result.grade.grade.capitalize()} evidence. {result.grade.reason}", *result.notes] if result else []
        measured = [escape(sentence) for sentence in grade]
        yield f"- **{disease.title}**: {' '.join((caveat_of(disease.key, _terms(card)), *untrained, *measured))}"


def _identity(card: ModelCard) -> pd.DataFrame:
    rows = [
        ("model", card.name),
        ("model hash (SHA-256)", card.sha256),
        ("created", card.created),
        ("architecture", card.encoder.architecture.name),
        *(("encoder hash (SHA-256)", sha256) for sha256 in sorted({h.encoder_sha256 for h in card.heads.values()})),
        ("hash of the training groups", card.encoder.data.groups_sha256),
        *((f"version of {package}", version) for package, version in card.encoder.versions.items()),
    ]
    return pd.DataFrame(rows, columns=["property", "value"])


def _classifiers(heads: _Heads) -> pd.DataFrame:
    rows = [
        {
            "disease": disease.title,
            "training": head.regime,
            "not flagged below": f"{head.threshold_low:.3f}",
            "flagged from": f"{head.threshold_high:.3f}",
            "the same for a volume": f"{head.volume.threshold_low:.3f}, {head.volume.threshold_high:.3f}"
            if head.volume
            else "",
            "calibration temperature": f"{head.calibration_temperature:.3f}",
            "map scale (logits)": f"{head.saliency_scale:.3f}",
        }
        for disease, head in heads
    ]
    return pd.DataFrame(rows)


def _escaped(text: str) -> str:
    """Returns text without line breaks, in which no character is read as Markdown or HTML."""
    return re.sub(r"([\\`*_\[\]<>|~])", r"\\\1", " ".join(text.split()))


def percentage(rate: Rate | None) -> str:
    """Returns a rate in per cent with its interval and how many groups it rests on."""
    if rate is None:
        return "not measured"
    estimate = rate.rate
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return str(estimate.reason)
    return (
        f"{100 * estimate.value:.1f} % ({100 * estimate.low:.1f} to {100 * estimate.high:.1f}; {rate.n_groups} groups)"
    )


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f} %"
