"""Charts of the Data page: each takes a table of ``summary`` and returns a Plotly figure."""

from html import escape

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from sslmri.dashboard import theme
from sslmri.dashboard.charts import layout
from sslmri.diseases import Disease, class_title

_SHADES = {"train": 1.0, "validation": 0.6, "test": 0.3, "all": 1.0}
_COUNTS = {"groups": "Groups", "slices": "Slices"}
_BEFORE, _AFTER = "before", "after"
_BALANCING = {  # column of the table -> name, bar, opacity, hatching
    "labelled": ("before", _BEFORE, 0.5, ""),
    "used": ("after", _AFTER, 1.0, ""),
    "repeated": ("after, repeated", _AFTER, 1.0, "/"),
}


def balance(table: pd.DataFrame, disease: Disease) -> go.Figure:
    """Returns groups and slices of each class side by side, the splits as shades of the class's colour.

    The numbers stand next to the bars: those of the splits in their order.
    """
    colours = theme.class_colours(disease)
    figure = make_subplots(cols=2, shared_yaxes=True, subplot_titles=list(_COUNTS.values()), horizontal_spacing=0.06)
    splits = list(dict.fromkeys(table["split"]))
    for column, thing in enumerate(_COUNTS, start=1):
        for split in splits:
            rows = table[table["split"] == split]
            figure.add_bar(
                row=1,
                col=column,
                x=rows[thing],
                y=[class_title(label) for label in rows["label"]],
                orientation="h",
                marker={
                    "color": [theme.faded(colours[label], _SHADES[split]) for label in rows["label"]],
                    "line": {"width": 1, "color": theme.ink()},
                },
                showlegend=False,
                hovertemplate=f"%{{y}}, {split}: %{{x:,}} {thing}<extra></extra>",
            )
        _add_numbers(figure, table, thing, column, room=1.6 if len(splits) > 1 else 1.25)
    for split in splits if len(splits) > 1 else []:
        grey = {"symbol": "square", "size": 12, "color": theme.faded(theme.REFERENCE, _SHADES[split])}
        figure.add_scatter(x=[None], y=[None], mode="markers", marker=grey, name=split)
    figure.update_annotations(font_size=13)
    figure.update_xaxes(zeroline=False)
    figure.update_yaxes(autorange="reversed", showgrid=False)
    legend = {"y": -0.12, "yanchor": "top", "traceorder": "normal"}
    height = 48 * len(disease.classes) + 110
    return layout(figure, height, barmode="stack", bargap=0.35, legend=legend, margin={"t": 30})


def _add_numbers(figure: go.Figure, table: pd.DataFrame, thing: str, column: int, room: float) -> None:
    """Writes the counts of each class to the right of its bar, on an axis that is ``room`` times the longest bar."""
    by_class = table.groupby("label", sort=False)[thing]
    figure.add_scatter(
        row=1,
        col=column,
        x=by_class.sum(),
        y=[class_title(str(label)) for label in by_class.groups],
        mode="text",
        text=["\u2002" + " / ".join(f"{n:,}" for n in numbers) for _, numbers in by_class],
        textposition="middle right",
        cliponaxis=False,
        hoverinfo="skip",
        showlegend=False,
    )
    figure.update_xaxes(range=[0, room * by_class.sum().max()], col=column)


def balancing(table: pd.DataFrame, disease: Disease) -> go.Figure:
    """Returns two adjacent bars per class, from ``summary.balancing``: labelled slices, and those of an epoch."""
    colours = theme.class_colours(disease)
    written = {
        "labelled": table["labelled"],
        "used": table["used"].where(table["repeated"] == 0),
        "repeated": (table["used"] + table["repeated"]).where(table["repeated"] > 0),
    }
    figure = go.Figure()
    for thing, (name, bar, opacity, hatching) in _BALANCING.items():
        figure.add_bar(
            x=table[thing],
            y=[class_title(label) for label in table["label"]],
            base=table["used"] if thing == "repeated" else None,
            offsetgroup=bar,
            orientation="h",
            marker={
                "color": [theme.faded(colours[label], opacity) for label in table["label"]],
                "line": {"width": 1, "color": theme.ink()},
                "pattern": {"shape": hatching, "size": 6},
            },
            text=["" if pd.isna(number) else f"{number:,.0f}" for number in written[thing]],
            textposition="outside",
            textangle=0,
            cliponaxis=False,
            name=name,
            hovertemplate=f"%{{y}}, {name}: %{{customdata:,}} slices<extra></extra>",
            customdata=table[thing],
        )
    figure.update_xaxes(range=[0, 1.12 * table["labelled"].max()], zeroline=False, title="training slices")
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return layout(figure, 52 * len(disease.classes) + 110, barmode="group", bargap=0.3)


def density(table: pd.DataFrame, quantiles: pd.DataFrame, disease: Disease) -> go.Figure:
    """Returns the density of intensities of each class on one axis, its quantiles on hover."""
    colours = theme.class_colours(disease)
    words = {
        str(row["class"]): "<br>".join(f"{name}: {row[name]}" for name in quantiles.columns if name != "class")
        for row in quantiles.to_dict("records")
    }
    figure = go.Figure()
    for label, rows in table.groupby("label", sort=False):
        name = class_title(str(label))
        figure.add_scatter(
            x=rows["intensity"],
            y=rows["density"],
            mode="lines",
            name=name,
            line={"color": colours[str(label)], "width": 2.5},
            hovertemplate=f"<b>{name}</b><br>{words.get(name, '')}<extra></extra>",
        )
    figure.update_xaxes(title="intensity inside the head, 0 to 1 after preparation", range=[0, 1], zeroline=False)
    figure.update_yaxes(title="density", rangemode="tozero")
    return layout(figure, 340, showlegend=True)


def size_bubbles(table: pd.DataFrame) -> go.Figure:
    """Returns width and height of the files; the area of a marker grows with the number of files."""
    figure = go.Figure()
    largest = max(table["slices"], default=1)
    for (cohort, own), colour in zip(table.groupby("cohort"), theme.cycle(), strict=False):
        figure.add_scatter(
            x=own["width"],
            y=own["height"],
            mode="markers",
            name=escape(str(cohort), quote=False),  # Plotly shows &quot; as it is
            marker={
                "size": own["slices"],
                "sizemode": "area",
                "sizeref": 2 * largest / 36**2,
                "sizemin": 5,
                "color": colour,
                "opacity": 0.75,
            },
            customdata=own[["slices"]],
            hovertemplate="%{x} x %{y} pixels: %{customdata[0]} files<extra></extra>",
        )
    figure.update_xaxes(title="width, pixels", rangemode="tozero", zeroline=False)
    figure.update_yaxes(title="height, pixels", rangemode="tozero", zeroline=False)
    return layout(figure, 300, showlegend=True, legend={"itemsizing": "constant"})
