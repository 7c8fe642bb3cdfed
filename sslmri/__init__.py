"""Brain-MRI slices: learned without labels, taught four diseases, screened with the evidence beside the answer.

The rooms, each importing only from those above it::

    diseases, errors   the classes of each disease, and every error a user may be shown
    scans              bytes -> Scan -> slices; the one preparation that training and the app share
    cohorts            folders -> records -> splits -> a store of prepared slices
    learning           ResNet-50, SimCLR, fine-tuning, checkpoints, the saved model (torch)
    evidence           floors, metrics, calibration (NumPy and scikit-learn, never torch)
    screening          what the app, the command line and a notebook call
    dashboard          what the pages draw with (the only room that imports Streamlit)
"""
