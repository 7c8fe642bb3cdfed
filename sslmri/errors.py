"""The errors of this project: each message is one plain sentence that can be shown to a user."""


class SslmriError(Exception):
    """Something the user can act on; the message says what was expected, what was found, and what to do."""


class ScanError(SslmriError):
    """A file that cannot be read as a scan.

    Attributes:
        reason: one plain sentence that does not name the file.
        source: name of the file or of the entry of an archive; empty where it is clear from the context.
    """

    def __init__(self, reason: str, source: str = "") -> None:
        super().__init__(f"{source}: {reason}" if source else reason)
        self.reason, self.source = reason, source


class ManifestError(SslmriError):
    """A manifest or a data folder that cannot be used."""


class ModelError(SslmriError):
    """A model, a run folder or a file of diseases that cannot be loaded."""


class TrainingError(SslmriError):
    """Training that cannot start or must stop."""


class RegisterError(SslmriError):
    """A register of readings that cannot be used."""
