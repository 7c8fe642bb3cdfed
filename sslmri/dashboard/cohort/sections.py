"""The cohort page: uploader, filtered list of findings, opening one scan, reports, and charts of the rows listed."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from sslmri.dashboard import theme
from sslmri.dashboard.charts import HATCH, layout
from sslmri.dashboard.cohort.session import MAX_SCANS, Cohort, accept, clear_cohort, screen_into, time_left
from sslmri.dashboard.screening.review import draw_report_buttons
from sslmri.dashboard.screening.shared_model import load_screener
from sslmri.dashboard.screening.uploads import HANDED_OVER, FileUpload, Upload
from sslmri.dashboard.text import count, escape_markdown
from sslmri.diseases import DISEASES, Notice, class_title
from sslmri.evidence.verdict import Verdict
from sslmri.models.cards import ModelCard
from sslmri.models.evidence import Metrics
from sslmri.scans.file_type import FORMATS
from sslmri.screening.outcome import Entry, Finding, Refusal, notice_line

REFUSED = "refused"
ALL_VERDICTS = (*map(str, Verdict), REFUSED)
_COLUMNS = ("Scan", "File", "Disease", "Verdict", "Any disease", "Top class", "Probability", "90 % set", "Note")
_ROW = 34  # pixels of a bar of a chart
_SCREENING_PAGE = "pages/screening.py"


def take_in(card: ModelCard, cohort: Cohort) -> None:
    """Draws the uploader and screens what it holds; then the uploader is emptied and the page drawn again."""
    files = st.file_uploader(
        f"Drop up to {MAX_SCANS} scans: DICOM, NIfTI, other volumes, images or zip",
        accept_multiple_files=True,
        key=f"cohort-files-{cohort.drop}",
        help=f"{FORMATS}. The DICOM files of one series are one scan. Results stay in the memory of this session "
        "on the server, images do not; nothing is written to disk or sent on.",
    )
    if cohort.note:
        st.warning(cohort.note)
    if not files:
        return
    scans = accept(cohort, [FileUpload(file.name, file.getvalue()) for file in files])
    if scans:
        _screen_with_progress(card, cohort, scans)
    cohort.drop += 1
    st.rerun()


def _screen_with_progress(card: ModelCard, cohort: Cohort, scans: Sequence[Upload]) -> None:
    bar = st.progress(0.0, f"Screening {count(len(scans), 'scan')}")
    for done, seconds in screen_into(load_screener(card), cohort, scans):
        bar.progress(done / len(scans), f"Screened {done} of {count(len(scans), 'scan')}, {time_left(seconds)}")
    bar.empty()


def draw_summary(cohort: Cohort) -> None:
    """Draws how many scans there are, and the button that clears the list."""
    n_refused = sum(isinstance(entry.outcome, Refusal) for entry in cohort.entries.values())
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(
            f"**{count(len(cohort.entries) - n_refused, 'scan')}** screened, {n_refused} refused", width="content"
        )
        st.space("stretch")
        st.button("Clear the list", type="tertiary", on_click=clear_cohort)


def choose_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows of the table that the reader's filters leave."""
    left, right = st.columns(2, gap="large")
    titles = [disease.title for disease in DISEASES.values() if (table["Disease"] == disease.title).any()]
    verdicts = left.pills("Verdict", ALL_VERDICTS, selection_mode="multi", key="cohort-verdict")
    diseases = right.pills("Disease", titles, selection_mode="multi", key="cohort-disease")
    return filtered(table, verdicts, diseases)


def draw_list(cohort: Cohort, shown: pd.DataFrame) -> None:
    """Draws the rows that the filters leave; a selected one can be opened."""
    number = st.column_config.NumberColumn(format="%.2f")
    event = st.dataframe(
        shown,
        hide_index=True,
        placeholder="",
        on_select="rerun",
        selection_mode="single-row",
        column_config={"Probability": number, "Any disease": number},
        key=f"cohort-table-{hash(tuple(shown.index))}-{len(cohort.entries)}",
        alt="Findings of all scans",
    )
    chosen = event["selection"]["rows"]
    if not chosen:
        st.caption("Click a column header to sort; select a row to open the scan.")
        return
    _draw_opening(cohort, int(shown.iloc[chosen[0]]["Scan"]))


def _draw_opening(cohort: Cohort, number: int) -> None:
    outcome = next(entry.outcome for entry in cohort.entries.values() if entry.number == number)
    upload = cohort.kept.get(number)
    if isinstance(outcome, Refusal):
        st.caption(f"Scan {number} was refused: {escape_markdown(outcome.reason)}")
    elif upload is None:
        st.caption(f"Scan {number} cannot be opened: its file was too large to keep. Upload it on the Screening page.")
    elif st.button(f"Open scan {number} in Screening"):
        st.session_state[HANDED_OVER] = upload
        st.switch_page(_SCREENING_PAGE)


def draw_exports(card: ModelCard, cohort: Cohort, shown: pd.DataFrame, metrics: Metrics | None) -> None:
    """Draws the buttons that save the reports of the scans listed, without the names of their files."""
    numbers = set(shown["Scan"])
    entries = [entry for entry in cohort.entries.values() if entry.number in numbers]
    with st.container(horizontal=True, vertical_alignment="center"):
        draw_report_buttons(card, lambda: entries, metrics, f"cohort-{cohort.token}", is_disabled=not entries)
        st.caption(
            f"All findings of the {count(len(entries), 'scan')} listed. Reports contain no file names; scans are "
            "identified by number and hash.",
            width="content",
        )


def findings_table(entries: Iterable[Entry], names: Mapping[int, str]) -> pd.DataFrame:
    """Returns one row for each scan and disease, and one for each file that was refused.

    Diseases and classes are titles; a classifier that was not assessed has no class and no number.
    """
    cells = [cell for entry in entries for cell in _cells(entry, names[entry.number])]
    return pd.DataFrame(cells, columns=list(_COLUMNS)).astype({"Probability": float, "Any disease": float})


def filtered(table: pd.DataFrame, verdicts: Sequence[str], diseases: Sequence[str]) -> pd.DataFrame:
    """Returns the rows of these verdicts and titles of diseases; none stands for all."""
    kept = table[table["Verdict"].isin(verdicts or ALL_VERDICTS)]
    return kept[kept["Disease"].isin(diseases)] if diseases else kept


def verdict_counts(table: pd.DataFrame) -> pd.DataFrame:
    """Returns how many scans have which verdict, by disease: columns ``Disease``, ``Verdict``, ``Scans``."""
    return _counts(table[table["Verdict"] != REFUSED], "Verdict")


def class_counts(table: pd.DataFrame) -> pd.DataFrame:
    """Returns how many assessed scans have which top class: ``Disease``, ``Top class``, ``Scans``."""
    return _counts(table[table["Top class"] != ""], "Top class")


def _counts(table: pd.DataFrame, column: str) -> pd.DataFrame:
    counted: pd.DataFrame = table.groupby(["Disease", column], sort=False).size().reset_index(name="Scans")
    return counted


def _cells(entry: Entry, name: str) -> list[dict[str, Any]]:
    shared = {"Scan": entry.number, "File": name, "Top class": "", "90 % set": ""}
    outcome = entry.outcome
    if isinstance(outcome, Refusal):
        return [shared | {"Disease": "", "Verdict": REFUSED, "Note": outcome.reason}]
    return [
        shared | {"Disease": DISEASES[key].title, "Verdict": str(finding.verdict)} | _answer(finding, outcome.warnings)
        for key, finding in outcome.findings.items()
    ]


def _answer(finding: Finding, warnings: Sequence[Notice]) -> dict[str, Any]:
    if not finding.is_assessed:
        return {"Note": finding.reason}
    members = finding.prediction_set
    return {
        "Any disease": finding.probability_any,
        "Top class": class_title(finding.top_class),
        "Probability": finding.probabilities[finding.top_class],
        "90 % set": "" if members is None else ", ".join(map(class_title, members)) or "empty",
        "Note": " ".join(notice_line(warning) for warning in warnings if warning.disease in (None, finding.disease)),
    }


def verdict_bars(table: pd.DataFrame) -> go.Figure:
    """Returns the scans of each disease by verdict, from ``cohort_tables.verdict_counts``."""
    figure = go.Figure()
    hatched: dict[str, Any] = {"color": theme.faint(), "pattern": {**HATCH, "fgcolor": theme.MISSING}}
    for verdict in Verdict:
        marker = {"color": theme.STATUSES[verdict]} if verdict in theme.STATUSES else hatched
        _add_bar(figure, table[table["Verdict"] == verdict], verdict, marker)
    return _finish(figure, table)


def class_bars(table: pd.DataFrame) -> go.Figure:
    """Returns the scans of each disease by top class, from ``cohort_tables.class_counts``."""
    figure = go.Figure()
    for disease in DISEASES.values():
        for label, colour in theme.class_colours(disease).items():
            rows = table[(table["Disease"] == disease.title) & (table["Top class"] == class_title(label))]
            if len(rows):
                _add_bar(figure, rows, class_title(label), {"color": colour}, f"{class_title(label)} ")
    figure.update_layout(showlegend=False)
    return _finish(figure, table)


def _add_bar(figure: go.Figure, rows: pd.DataFrame, name: str, marker: dict[str, Any], before: str = "") -> None:
    figure.add_bar(
        x=rows["Scans"],
        y=rows["Disease"],
        name=name,
        orientation="h",
        marker=marker,
        texttemplate=f"{before}%{{x}}",
        textposition="inside",
        insidetextanchor="middle",
        textangle=0,
        hovertemplate=f"%{{y}}, {name}: %{{x}} scans<extra></extra>",
    )


def _finish(figure: go.Figure, table: pd.DataFrame) -> go.Figure:
    titles = [disease.title for disease in DISEASES.values() if (table["Disease"] == disease.title).any()]
    figure.update_yaxes(categoryorder="array", categoryarray=titles[::-1], showgrid=False)
    figure.update_xaxes(title="Scans", rangemode="tozero", zeroline=False, tickformat="d")
    figure.update_layout(uniformtext={"minsize": 10, "mode": "hide"})
    return layout(figure, _ROW * len(titles) + 90, barmode="stack", bargap=0.3, legend={"traceorder": "normal"})
