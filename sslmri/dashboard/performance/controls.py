"""What a head's figures rest on: shortcuts, false alarms on other healthy scans, and where its maps point."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from sslmri.dashboard import charts, theme
from sslmri.dashboard.model_evidence import EVIDENCE, check_own
from sslmri.dashboard.section import draw_chart, draw_notes, draw_table
from sslmri.dashboard.text import count, escape_markdown, proportion
from sslmri.diseases import Disease
from sslmri.errors import ModelError
from sslmri.evidence.shortcuts import CARRIES, CONTROLS, read_controls
from sslmri.models.cards import ModelCard

_ROW = 44
_GAMES = {"pointing": "highest value inside the finding", "energy": "share of the map inside the finding"}


def find_controls(card: ModelCard) -> dict[str, Any] | None:
    """Returns the controls of a model, or None where they were not run yet.

    Raises:
        ModelError: they are damaged, belong to another encoder, or are older than the heads.
    """
    content = read_controls(card.folder / EVIDENCE)
    if content is not None:
        check_own(card, content, "controls", "controls")
    return content


def draw_controls(card: ModelCard, disease: Disease) -> None:
    """Draws the stored controls of one disease, or says in a line why there are none."""
    try:
        content = find_controls(card)
    except ModelError as error:
        st.caption(escape_markdown(str(error)))
        return
    result = (content or {"diseases": {}})["diseases"].get(disease.key)
    if content is None or result is None:
        st.caption(
            "Shortcuts, false alarms and localisation are not measured for this head yet: run "
            "`python train.py controls`, then load this page again."
        )
        return
    _draw_shortcuts(result, disease, content["rules"]["shortcut"])
    left, right = st.columns(2, gap="large")
    with left:
        alarms = alarms_table(result, content["family_wise"])
        draw_table("Healthy slices of other cohorts that are flagged", alarms, f"alarms-{disease.key}")
    with right:
        _draw_localisation(result["localisation"], disease)


def _draw_shortcuts(result: Mapping[str, Any], disease: Disease, rule: str) -> None:
    table = shortcut_table(result)
    figure = shortcut_chart(table, result["chance"])
    draw_chart(f"{disease.title}: what shortcuts alone reach", figure, table, f"shortcuts-{disease.key}", rule)
    carrying = [name for name, own in result["controls"].items() if own["verdict"] == CARRIES]
    if carrying:
        names = ", ".join(CONTROLS[name] for name in carrying)
        st.markdown(f"**A shortcut carries this result:** {names}. The figures may owe nothing to the disease.")
    draw_notes(result["sentences"])


def _draw_localisation(found: Mapping[str, Any] | None, disease: Disease) -> None:
    if found is None:
        st.caption("No finding of this disease is marked in the test slices: where its maps point is not measured.")
        return
    note = (
        f"{count(found['n_slices'], 'slice')} of {count(found['n_groups'], 'group')} with a marked finding. Random "
        "heads have random weights on the same encoder."
    )
    draw_table("Where the maps point", localisation_table(found), f"maps-{disease.key}", note)
    draw_notes(found["sentences"])


def shortcut_table(result: Mapping[str, Any]) -> pd.DataFrame:
    """Returns one row for the model and one for each control: balanced accuracy with its interval, and the verdict."""
    rows = [{"seen": "the slice: this model", **result["model"]["balanced_accuracy"], "verdict": ""}]
    for name, own in result["controls"].items():
        rows.append({"seen": CONTROLS[name], **own["balanced_accuracy"], "verdict": own["verdict"]})
    return pd.DataFrame(rows).astype(dict.fromkeys(("value", "low", "high", "raw"), float))


def shortcut_chart(table: pd.DataFrame, chance: float) -> go.Figure:
    """Returns the balanced accuracy of the model and of each control beside chance, from ``shortcut_table``."""
    known, unknown = table[table["value"].notna()], table[table["value"].isna() & table["raw"].notna()]
    figure = go.Figure()
    figure.add_scatter(
        x=known["value"],
        y=known["seen"],
        error_x={"array": known["high"] - known["value"], "arrayminus": known["value"] - known["low"], "width": 5},
        mode="markers",
        name="balanced accuracy, 95 % interval",
        marker={"size": 11, "color": [theme.accent() if row == 0 else theme.ANY for row in known.index]},
        customdata=known[["low", "high"]],
        hovertemplate="%{x:.2f} (%{customdata[0]:.2f} to %{customdata[1]:.2f})<extra></extra>",
    )
    figure.add_scatter(
        x=unknown["raw"],
        y=unknown["seen"],
        mode="markers",
        name="not estimable, raw figure",
        marker={"size": 11, "color": theme.MISSING, "symbol": "circle-open", "line": {"width": 2}},
        customdata=unknown[["reason"]],
        hovertemplate="raw %{x:.2f}: %{customdata[0]}<extra></extra>",
    )
    figure.add_vline(x=chance, line={"color": theme.ink(), "dash": "dot", "width": 1}, annotation={"text": "chance"})
    figure.update_xaxes(range=[-0.02, 1.02], dtick=0.2, title="balanced accuracy, slices", zeroline=False)
    figure.update_yaxes(categoryorder="array", categoryarray=list(table["seen"])[::-1], showgrid=True)
    return charts.layout(figure, _ROW * len(table) + 80, showlegend=False, margin={"t": 24})


def alarms_table(result: Mapping[str, Any], family_wise: Mapping[str, Any]) -> pd.DataFrame:
    """Returns the share of healthy slices that is flagged: by this head for each cohort, and by any head for all."""
    found = {**result["other_healthy"], "all cohorts, any head": family_wise}
    rows = [(name, *_cells(own["flagged"]), own["n_groups"], own["n_slices"]) for name, own in found.items()]
    return pd.DataFrame(rows, columns=["cohort", "flagged", "95 % interval", "groups", "slices"])


def localisation_table(found: Mapping[str, Any]) -> pd.DataFrame:
    """Returns the pointing game and its energy for true and predicted class, random heads and a random point."""
    rows = [
        (f"map of the {which} class, {title}", *_cells(found[which][game]))
        for which in ("true", "predicted")
        for game, title in _GAMES.items()
    ]
    random = found["random_head"]
    rows.append((f"{random['n_heads']} random heads, {_GAMES['pointing']}", *_cells(random["pointing"])))
    rows.append(("random heads, rank correlation with the true map", *_cells(random["rank_correlation"])))
    rows += [(f"random point in the {where}", proportion(share), "") for where, share in found["random_point"].items()]
    return pd.DataFrame(rows, columns=["what", "share", "95 % interval"])


def _cells(figure: Mapping[str, Any]) -> tuple[str, str]:
    """Returns a figure and its interval, or the raw figure and why it is not estimable."""
    if figure["value"] is None:
        return "" if figure["raw"] is None else proportion(figure["raw"]), str(figure["reason"])
    return proportion(figure["value"]), f"{proportion(figure['low'])} to {proportion(figure['high'])}"
