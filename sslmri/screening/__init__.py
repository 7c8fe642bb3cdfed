"""What the app, the command line and a notebook call."""
