"""Charts of the Data page: each takes a table of ``summary`` and returns a Plotly figure."""

import pandas as pd
import plotly.express as px
import plotly.graph_objects as go

from sslmri.dashboard import theme
from sslmri.dashboard.charts import layout
from sslmri.diseases import Disease, class_title

_SHADES = {"train": 1.0, "validation": 0.6, "test": 0.3, "all": 1.0}
_COUNTS = {"groups": "Groups", "slices": "Slices"}


def balance(table: pd.DataFrame, disease: Disease) -> go.Figure:
    """Returns groups and slices of each class side by side, the splits as shades of the class's colour.

    The numbers stand next to the bars: those of the splits in their order.
    """
    colours = {class_title(label): colour for label, colour in theme.class_colours(disease).items()}
    titled = table.assign(title=table["label"].map(class_title))
    is_split = table["split"].nunique() > 1
    figure = px.bar(
        titled.melt(["title", "split"], list(_COUNTS), "thing", "number"),
        x="number",
        y="title",
        facet_col="thing",
        facet_col_spacing=0.06,
        color="split",
        hover_data={"thing": False, "number": ":,"},
        labels={"title": "class"},
    )
    figure.update_traces(marker_line={"width": 1, "color": theme.ink()})
    # the legend has the shades of the first class, the reference: grey
    figure.for_each_trace(
        lambda one: one.update(marker_color=[theme.faded(colours[title], _SHADES[one.name]) for title in one.y])
    )
    figure.for_each_annotation(lambda one: one.update(text=_COUNTS[one.text.partition("=")[2]]))
    for column, thing in enumerate(_COUNTS, start=1):
        numbers = titled.groupby("title", sort=False)[thing]
        longest = (1.6 if is_split else 1.25) * numbers.sum().max()
        text = numbers.agg(lambda own: "\u2002" + " / ".join(map("{:,}".format, own)))
        spot = {"x": numbers.sum(), "y": list(text.index), "hoverinfo": "skip", "cliponaxis": False}
        figure.add_scatter(
            row=1, col=column, mode="text", text=text, textposition="middle right", showlegend=False, **spot
        )
        figure.update_xaxes(col=column, matches=None, range=[0, longest], visible=False)
    figure.update_yaxes(autorange="reversed", showgrid=False, title=None)
    legend = {"y": 0, "yanchor": "top", "traceorder": "normal"}
    height = 48 * len(disease.classes) + 80
    return layout(figure, height, bargap=0.35, legend=legend, showlegend=is_split, margin={"t": 30})


def density(table: pd.DataFrame, disease: Disease) -> go.Figure:
    """Returns the density of intensities of each class on one axis."""
    figure = px.line(
        table.assign(title=table["label"].map(class_title)),
        x="intensity",
        y="density",
        color="title",
        render_mode="svg",
        color_discrete_map={class_title(key): colour for key, colour in theme.class_colours(disease).items()},
        hover_data={"intensity": ":.2f", "density": ":.2f"},
        labels={"intensity": "intensity inside the head, 0 to 1 after preparation", "title": "class"},
    )
    figure.update_traces(line_width=2.5)
    figure.update_xaxes(range=[0, 1], zeroline=False)
    figure.update_yaxes(rangemode="tozero")
    return layout(figure, 340)
