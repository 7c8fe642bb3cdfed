"""What is timed, against what, in one run each; nothing here is needed to use the program."""
