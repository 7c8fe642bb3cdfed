"""Files to a scan, a scan to the slices that the encoder sees. No torch, no Streamlit.

``read_scan`` is the entry point for files of unknown origin; ``parse`` reads without limits on time and memory.
"""

from sslmri.scans.sandbox import count_scans, read_files, read_headers, read_scan, series_key

__all__ = ["count_scans", "read_files", "read_headers", "read_scan", "series_key"]
