"""Agreement: how far the readings in the register agree with the model and with each other, for reader studies."""

import streamlit as st

from sslmri.dashboard.agreement import agreement_table, shown
from sslmri.dashboard.layout import require_model, start_page
from sslmri.dashboard.section import draw_notes, draw_title
from sslmri.dashboard.text import count, escape_markdown
from sslmri.errors import RegisterError
from sslmri.screening.register import last_readings

start_page("Agreement")
card = require_model("This page shows how far readers agree with the model and with each other.")
try:
    readings = last_readings(card.sha256)
except RegisterError as error:
    st.error(escape_markdown(str(error)))
    st.stop()
if not readings:
    st.info(
        "No reading with this model yet. Open a scan on the Screening page, choose your reading on its cards, add your "
        "initials and press *Record*."
    )
    st.stop()

n_scans, n_readers = len({one.scan_sha256 for one in readings}), len({one.initials for one in readings})
st.markdown(f"{count(len(readings), 'reading')} of {count(n_scans, 'scan')} by {count(n_readers, 'reader')}.")
title, table = "Agreement by disease and reader", agreement_table(readings)
draw_title(
    title,
    table,
    "agreement",
    "Scans: those compared, of those read. Agreement: the fraction read alike. Kappa: Cohen's, unweighted. In brackets "
    "95 % intervals, from a bootstrap over scans.",
)
st.table(shown(table).map(escape_markdown), hide_index=True, alt=title)
draw_notes(
    [
        'Readers are compared with the model on disease or none: "other", "cannot tell", inconclusive and not assessed '
        'are left open. They are compared with each other on the class: "cannot tell" is left open.',
        "The last reading of a scan by a reader counts. Readers may have seen the model's result before, which raises "
        "their agreement with it. Scans count as independent: the register does not know which are of one patient.",
    ]
)
