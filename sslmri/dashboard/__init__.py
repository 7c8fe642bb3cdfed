"""What the pages draw with: the only package that imports Streamlit and Plotly."""
