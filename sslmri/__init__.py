"""Brain-MRI slices: an encoder pre-trained without labels, disease classifiers, and the evidence for each result.

The packages, each importing only from those above it::

    diseases, errors   the classes of each disease, and every error that a user may see
    scans              bytes -> Scan -> slices; one preparation for training and screening
    cohorts            folders -> records -> splits -> a store of prepared slices
    models             the model folder: typed cards and evidence (no torch)
    learning           ResNet-50, SimCLR, fine-tuning, checkpoints (torch)
    evidence           baselines, metrics, calibration (NumPy and scikit-learn, never torch)
    gate               whether an image is brain MRI and resembles a classifier's training data
    screening          what the app, the command line and a notebook call
    training           the steps of ``train.py``
    dashboard          what the pages draw with (the only package that imports Streamlit)
"""
