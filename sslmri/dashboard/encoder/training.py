"""The curves of a training on the encoder page: of the model, or of a run on this server, which is followed."""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pandas as pd
import streamlit as st
from pydantic import JsonValue

from sslmri.cohorts.protocols import Protocol
from sslmri.dashboard import theme
from sslmri.dashboard.encoder import map_charts, messages
from sslmri.dashboard.encoder.runs import find_runs, read_run
from sslmri.dashboard.performance.tables import SPLIT_TITLES
from sslmri.dashboard.section import draw_chart
from sslmri.dashboard.text import escape_markdown
from sslmri.diseases import DISEASES
from sslmri.models.cards import ModelCard
from sslmri.models.evidence import find_history
from sslmri.models.history import MIN_RANK, MIN_STD, collapse_sentence

_EVERY_S = 5  # between two looks at a run
_Entries = Sequence[dict[str, JsonValue]]


def choose_run(card: ModelCard) -> Protocol | Path:
    """Returns the training to show: the split of one whose history was kept with the model, or the folder of a run."""
    splits = [split for split in SPLIT_TITLES if find_history(card, "pretrain", split)] or [card.training.protocol]
    runs = find_runs()
    st.fragment(look_for_runs, run_every=_EVERY_S)(list(runs))
    if len(splits) + len(runs) < 2:
        return card.training.protocol
    names: list[str] = [*splits, *runs]
    chosen = st.selectbox(
        "Run",
        names,
        format_func=lambda name: f"This model: {SPLIT_TITLES[name]}" if name in SPLIT_TITLES else name,
        index=splits.index(card.training.protocol) if card.training.protocol in splits else 0,
        key="encoder-run",
        help="Each run has an encoder of its own. The features below are of this model's.",
    )
    return runs[chosen] if chosen in runs else splits[names.index(chosen)]


def draw_training(card: ModelCard, chosen: Protocol | Path) -> None:
    """Draws what was kept of each epoch of the model's trainings, or of a run, which is followed while it goes on."""
    if isinstance(chosen, Path):
        is_running = read_run(chosen).state == "running"
        st.fragment(_follow, run_every=_EVERY_S if is_running else None)(chosen, is_running)
        return
    entries = find_history(card, "pretrain", chosen)
    if not entries:
        st.caption("No history of pre-training was kept with this model.")
    else:
        _draw_pretraining(entries)
    tuned, late = (_table(find_history(card, step, chosen), "auroc") for step in ("finetune", "late"))
    if not tuned.empty:
        note = f"From epoch {len(tuned) + 1} on, the second phase: other slices." if len(late) else ""
        both = pd.concat([tuned, late.assign(epoch=late["epoch"] + len(tuned))]) if len(late) else tuned
        _draw_pair(both, ("Fine-tuning loss", note), ("Validation AUROC", "AUROC", ""))
    if entries and "feature_std" in entries[-1]:
        _draw_features(entries)


def look_for_runs(known: list[str]) -> None:
    """Draws the page again once a run has begun, or is gone."""
    if list(find_runs()) != known:
        st.rerun()


def _follow(folder: Path, was_running: bool) -> None:
    """Draws a run as it is now. Once it has ended the page is drawn again, and no longer looks for news."""
    run = read_run(folder)
    if was_running and run.state != "running":
        st.rerun()
    st.markdown(messages.run_sentence(run))
    _draw_pretraining(run.entries)
    _draw_features(run.entries, run.views)


def _draw_pretraining(entries: _Entries) -> None:
    size = entries[-1].get("batch_size") if entries else None
    chance = math.log(2 * int(str(size)) - 1) if size else None
    _draw_pair(
        _table(entries, "knn"),
        ("NT-Xent loss", "Chance is ln(2N - 1) for N slices in a batch: each of the other views is as likely."),
        ("kNN probe", "balanced accuracy", "On validation groups. Chance is one over the classes."),
        chance,
        is_scored=any(entry.get("knn") is not None for entry in entries),
    )


def _table(entries: _Entries, scores: str) -> pd.DataFrame:
    """Returns one row per epoch: its loss, what tells a collapse, and by disease the scores where they were taken."""
    titles = {f"{scores}.{key}": disease.title for key, disease in DISEASES.items()}
    table = pd.json_normalize(list(entries)).rename(columns=titles)
    columns = ["epoch", "loss", *titles.values()]
    return table.filter(columns) if entries else pd.DataFrame(columns=columns[:2], dtype=float)


def _draw_pair(
    table: pd.DataFrame,
    loss: tuple[str, str],
    scores: tuple[str, str, str],
    chance: float | None = None,
    is_scored: bool = True,
) -> None:
    """Draws the loss and the scores of a step: title, name of the axis of scores, and note.

    Where there were scores but none of a disease, a line says so in place of their chart.
    """
    left, right = st.columns(2, gap="large")
    key = loss[0].split()[0].lower()
    with left:
        lines = [] if chance is None else [(chance, "chance")]
        _draw_lines(f"{loss[0]} by epoch", table, {"loss": theme.accent()}, loss[0], f"{key}-loss", loss[1], lines)
    with right:
        if is_scored and table.columns.difference(["epoch", "loss"]).empty:
            st.caption(f"{scores[0]} by epoch: there were no validation groups.")
        else:
            figure = map_charts.by_epoch(table, theme.disease_colours(), scores[1]).update_yaxes(range=[0, 1.02])
            draw_chart(f"{scores[0]} by epoch", figure, table, f"{key}-scores", scores[2], level=3)


def _draw_features(entries: _Entries, views: bytes | None = None) -> None:
    """Draws what tells a collapse of the features by epoch, and says whether there is one."""
    names = ["epoch", "feature_std", "effective_rank", "alignment", "uniformity"]
    table = pd.DataFrame(list(entries)).reindex(columns=names)
    st.header("Features by epoch", anchor=False)
    sentence = collapse_sentence(dict(entries[-1])) if entries else ""
    (st.warning if sentence else st.caption)(escape_markdown(sentence or "No sign of a collapse."))
    even = 1 / math.sqrt(int(str(entries[-1].get("feature_dim", 1)))) if entries else 1.0
    draw = partial(_draw_lines, table=table)
    left, right = st.columns(2, gap="large")
    with left:
        draw(
            "Standard deviation of the features",
            colours={"feature_std": theme.accent()},
            axis="standard deviation",
            key="feature-std",
            note="Over slices, of normalised features, mean over features. 0: all slices have the same features.",
            lines=[(even, "evenly spread"), (MIN_STD * even, "collapse")],
        )
    with right:
        draw(
            "Effective rank of the features",
            colours={"effective_rank": theme.accent()},
            axis="directions",
            key="effective-rank",
            note="Exponential of the entropy of the singular values, of the last 256 slices of an epoch at most.",
            lines=[(MIN_RANK, "collapse")],
        )
    left, right = st.columns(2, gap="large")
    with left:
        draw(
            "Alignment and uniformity",
            colours={"alignment": theme.HUES[0], "uniformity": theme.HUES[1]},
            axis="of the projections",
            key="alignment-uniformity",
            note="Wang and Isola 2020, lower is better. Alignment: squared distance of a pair of views, 0 to 4. "
            "Uniformity: 0 where all slices have the same projection.",
        )
    if views:
        with right:
            st.subheader("Sample views", anchor=False, help="Each column is a pair: two views of one training slice.")
            st.image(views, alt="Pairs of views of training slices")


def _draw_lines(
    title: str,
    table: pd.DataFrame,
    colours: dict[str, str],
    axis: str,
    key: str,
    note: str,
    lines: Sequence[tuple[float, str]] = (),
) -> None:
    """Draws columns of a table by epoch, with dotted lines at values that have a name."""
    figure = map_charts.by_epoch(table, colours, axis)
    for value, name in lines:
        figure.add_hline(y=value, line={"color": theme.MISSING, "dash": "dot"}, annotation_text=name)
    draw_chart(title, figure, table[["epoch", *colours]], key, note, level=3)
