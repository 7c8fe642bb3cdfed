"""The cohort page: worklist of the scans, opening one, reports, and charts of the scans listed."""

import base64
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.express as px
import plotly.graph_objects as go
import streamlit as st
from pandas.io.formats.style import Styler

from sslmri.dashboard import theme
from sslmri.dashboard.charts import HATCH, layout
from sslmri.dashboard.cohort.session import Cohort, clear_cohort
from sslmri.dashboard.screening.review import draw_report_buttons
from sslmri.dashboard.screening.uploads import HANDED_OVER
from sslmri.dashboard.section import draw_chart
from sslmri.dashboard.text import count, escape_markdown, in_order
from sslmri.diseases import DISEASES, class_title
from sslmri.evidence.verdict import Verdict
from sslmri.models.cards import ModelCard
from sslmri.models.evidence import Metrics
from sslmri.screening.card_lines import urgency
from sslmri.screening.messages import short_verdict
from sslmri.screening.outcome import Entry, Finding, Refusal, ScreeningSummary

_IMAGE, _FILE = "Image", "File"
_WIDTHS = {_IMAGE: 66, "Scan": 44, _FILE: 96, "Sequence": 62}  # in pixels; with five diseases they fit into 900
_DISEASE_WIDTH = 120
_ROW_HEIGHT, _WHOLE = 60, 10  # pixels; rows up to which the list is shown whole, a longer one scrolls
_BAR = 34  # pixels of a bar of a chart
_SCREENING_PAGE = "pages/screening.py"


def draw_summary(cohort: Cohort) -> None:
    """Draws how many scans there are, which were not screened and why, and the button that clears the list."""
    listed, apart = by_urgency(cohort.entries.values()), without_result(cohort)
    n_refused = sum(isinstance(entry.outcome, Refusal) for entry in apart)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(
            f"**{len(listed)} screened**, {len(apart) - n_refused} not brain MRI, {n_refused} refused",
            width="content",
        )
        st.space("stretch")
        st.button("Clear the list", type="tertiary", on_click=clear_cohort)
    if apart:
        rows = [(str(e.number), cohort.names[e.number], str(e.outcome.reason)) for e in apart]
        table = pd.DataFrame(rows, columns=["Scan", _FILE, "Reason"])
        with st.expander(f"{count(len(apart), 'file')} without a result", expanded=not listed):
            st.table(table.map(escape_markdown), hide_index=True)


def choose_entries(cohort: Cohort) -> list[Entry]:
    """Returns the scans that the reader's filters leave, the most urgent first."""
    entries = by_urgency(cohort.entries.values(), cohort.folded)
    left, right = st.columns(2, gap="large")
    verdicts = left.pills("Verdict", [str(verdict) for verdict in Verdict], selection_mode="multi", wrap=True)
    diseases = right.pills("Disease", _titles(), selection_mode="multi", wrap=True)
    return filtered(entries, verdicts, diseases)


def without_result(cohort: Cohort) -> list[Entry]:
    """Returns the files that were refused or not recognised as brain MRI."""
    return [entry for entry in cohort.entries.values() if entry.outcome.reason]


def by_urgency(entries: Iterable[Entry], folded: Collection[str] = ()) -> list[Entry]:
    """Returns the scans that were recognised as brain MRI, sorted by their most urgent findings, folded ones last."""
    brains = [entry for entry in entries if not entry.outcome.reason]
    return sorted(brains, key=lambda entry: sorted((one.disease in folded, *urgency(one)) for one in _findings(entry)))


def filtered(entries: Iterable[Entry], verdicts: Sequence[str], diseases: Sequence[str]) -> list[Entry]:
    """Returns the scans with any of these verdicts on any disease of these titles; none stands for all."""
    return [
        entry
        for entry in entries
        if any(
            str(finding.verdict) in (verdicts or [finding.verdict])
            and (not diseases or DISEASES[finding.disease].title in diseases)
            for finding in _findings(entry)
        )
    ]


def _titles() -> list[str]:
    return [disease.title for disease in DISEASES.values()]


def _findings(entry: Entry) -> Iterable[Finding]:
    return entry.outcome.findings.values() if isinstance(entry.outcome, ScreeningSummary) else ()


def draw_list(cohort: Cohort, shown: Sequence[Entry]) -> None:
    """Draws the scans; a click on one opens it."""
    weak = ", ".join(DISEASES[key].title for key in in_order(cohort.folded))
    note = f" Insufficient evidence, so neither coloured nor sorted by: {weak}." if weak else ""
    st.caption(f"Click a scan to open it, a column header to sort.{note}")
    chosen = draw_rows(cohort, shown, f"cohort-table-{hash(tuple(entry.number for entry in shown))}")
    if not chosen:
        return
    number = shown[chosen[0][0]].number
    upload = cohort.kept.get(number)
    if upload is None:
        st.info(f"Scan {number} cannot be opened: its file was too large to keep. Upload it on the Screening page.")
        return
    st.session_state[HANDED_OVER] = upload
    st.switch_page(_SCREENING_PAGE)


def draw_rows(cohort: Cohort, entries: Sequence[Entry], key: str | None = None) -> list[tuple[int, str]]:
    """Draws one row a scan; with a key, returns the cell that was clicked, by its row and column, if any."""
    table = worklist(entries, cohort.names, cohort.thumbnails)
    widths = _WIDTHS | dict.fromkeys(_titles(), _DISEASE_WIDTH)
    config: dict[str, Any] = {name: st.column_config.Column(width=width) for name, width in widths.items()}
    config[_IMAGE] = st.column_config.ImageColumn(width=_WIDTHS[_IMAGE])
    shared: dict[str, Any] = {"hide_index": True, "row_height": _ROW_HEIGHT, "column_config": config}
    shared["height"] = "content" if len(table) <= _WHOLE else _ROW_HEIGHT * _WHOLE
    shared["alt"] = "Findings of all scans"
    coloured = _coloured(table, [DISEASES[key].title for key in DISEASES if key not in cohort.folded])
    if key:
        shared |= {"on_select": "rerun", "selection_mode": "single-cell", "key": key}
    event: Any = st.dataframe(coloured, **shared)
    return event["selection"]["cells"] if key else []


def worklist(entries: Iterable[Entry], names: Mapping[int, str], thumbnails: Mapping[int, bytes]) -> pd.DataFrame:
    """Returns one row a scan: its image, number, file, a column a disease with verdict and probability, sequence."""
    rows = [
        {
            _IMAGE: f"data:image/jpeg;base64,{base64.b64encode(thumbnails[entry.number]).decode()}",
            "Scan": entry.number,
            _FILE: names[entry.number],
            **{DISEASES[finding.disease].title: str(short_verdict(finding)) for finding in _findings(entry)},
            "Sequence": getattr(entry.outcome, "sequence", None) or "unknown",
        }
        for entry in entries
    ]
    return pd.DataFrame(rows, columns=[_IMAGE, "Scan", _FILE, *_titles(), "Sequence"])


def _coloured(table: pd.DataFrame, titles: Sequence[str]) -> Styler:
    """Returns the table with the colours of what is flagged or inconclusive, in the columns of these diseases."""
    colours = {verdict: theme.STATUSES[verdict] for verdict in ("flagged", "inconclusive")}

    def style(answers: pd.Series) -> list[str]:
        found = [colours.get(str(answer).partition(" ")[0]) if answers.name in titles else None for answer in answers]
        return [f"background-color: {colour}; color: {_text_on(colour)}" if colour else "" for colour in found]

    return table.style.apply(style)


def _text_on(colour: str) -> str:
    """Returns the colour of text on a mark of that colour."""
    return {theme.ANY: "#ffffff", theme.faint(): theme.ink()}.get(colour, "#14171a")


def draw_exports(card: ModelCard, cohort: Cohort, shown: Sequence[Entry], metrics: Metrics | None) -> None:
    """Draws the buttons that save a report of the scans listed and of files without a result."""
    entries = [*shown, *without_result(cohort)]
    with st.container(horizontal=True, vertical_alignment="center"):
        draw_report_buttons(card, lambda: entries, metrics, f"cohort-{cohort.token}", is_disabled=not entries)
        st.caption(
            f"All findings of the {count(len(shown), 'scan')} listed, and every file without a result. Reports contain "
            "no file names; scans are identified by number and hash.",
            width="content",
        )


def draw_counts(entries: Iterable[Entry]) -> None:
    """Draws how many scans have which verdict, and how many of those assessed which top class, by disease."""
    verdicts, classes = counts(entries, "Verdict"), counts(entries, "Top class")
    colours = {class_title(k): v for disease in DISEASES.values() for k, v in theme.class_colours(disease).items()}
    left, right = st.columns(2, gap="large")
    if len(verdicts):
        with left:
            figure = _bars(verdicts, theme.STATUSES | {Verdict.NOT_ASSESSED: theme.faint()}, [*Verdict])
            draw_chart("Verdicts by disease", figure, verdicts, "cohort-verdicts")
    if len(classes):
        with right:
            title = "Predicted classes (assessed scans only)"
            draw_chart(title, _bars(classes, colours, list(colours)), classes, "cohort-classes")


def counts(entries: Iterable[Entry], column: str) -> pd.DataFrame:
    """Returns how many scans have which ``Verdict``, or if assessed which ``Top class``, by disease."""
    rows = [
        (DISEASES[one.disease].title, str(one.verdict), class_title(one.top_class) if one.is_assessed else None)
        for entry in entries
        for one in _findings(entry)
    ]
    table = pd.DataFrame(rows, columns=["Disease", "Verdict", "Top class"])
    return table.groupby(["Disease", column], sort=False).size().reset_index(name="Scans")


def _bars(table: pd.DataFrame, colours: Mapping[str, str], order: Sequence[str]) -> go.Figure:
    """Returns the scans of each disease, by verdict or by top class, stacked in an order."""
    column = table.columns[1]
    titles = [title for title in _titles() if title in set(table["Disease"])]
    figure = px.bar(
        table.assign(text=table[column].astype(str) + " " + table["Scans"].astype(str)),
        x="Scans",
        y="Disease",
        color=column,
        text="text",
        pattern_shape=column,
        pattern_shape_map={name: HATCH if name == Verdict.NOT_ASSESSED else "" for name in order},
        color_discrete_map=dict(colours),
        category_orders={column: list(order), "Disease": titles},
        hover_data={"text": False},
    )
    figure.for_each_trace(lambda one: one.update(insidetextfont_color=_text_on(one.marker.color)))
    hatch = {"fgcolor": theme.MISSING, "bgcolor": theme.faint(), "size": 6, "fgopacity": 0.6}
    figure.update_traces(textposition="inside", insidetextanchor="middle", textangle=0, marker_pattern=hatch)
    most = int(table.groupby("Disease")["Scans"].sum().max())
    figure.update_yaxes(showgrid=False, title=None)
    figure.update_xaxes(range=[0, most], zeroline=False, dtick=-(-most // 5))
    figure.update_layout(uniformtext={"minsize": 10, "mode": "hide"}, bargap=0.3, showlegend=False)
    return layout(figure, _BAR * len(titles) + 70)
