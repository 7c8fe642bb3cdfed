"""What the pages draw with: the only room that imports Streamlit and Plotly."""
