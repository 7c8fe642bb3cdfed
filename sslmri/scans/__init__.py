"""Bytes to a scan, a scan to the slices that the encoder sees. No torch, no Streamlit."""
