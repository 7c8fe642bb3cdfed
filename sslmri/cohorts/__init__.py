"""Folders of images to records, records to splits, splits to prepared slices. No torch, no Streamlit."""
