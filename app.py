"""The dashboard: ``streamlit run app.py``. Shows the model named by SSLMRI_MODEL, else models/default."""

import streamlit as st

from sslmri.dashboard.frame import choose_page
from sslmri.dashboard.words import literal
from sslmri.errors import SslmriError

page = choose_page()
try:
    page.run()
except SslmriError as error:
    st.error(literal(str(error)))
