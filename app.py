"""The dashboard: ``streamlit run app.py``. Shows the model named by SSLMRI_MODEL, else models/default.

The server imports this file for ``app``, and Streamlit runs it as a script for each user.
"""

import streamlit as st

from sslmri.errors import SslmriError

if __name__ == "__main__":
    from sslmri.dashboard.layout import choose_page
    from sslmri.dashboard.text import escape_markdown

    page = choose_page()
    try:
        page.run()
    except SslmriError as error:
        st.error(escape_markdown(str(error)))
else:
    from sslmri.dashboard.server.streamlit_internals import route_logs
    from sslmri.logging_config import install

    route_logs(install())  # before the imports below, which log
    from sslmri.dashboard.server.lifespan import MIDDLEWARE, ROUTES, lifespan, show_failure

    app = st.App(__file__, lifespan=lifespan, routes=ROUTES, middleware=MIDDLEWARE, on_script_error=show_failure)
