"""What can go wrong before the embedded model answers.

EmbeddedError
├── NotInstalled     the engine's package is missing
├── WeightsMissing   no weights file on this computer, or none could be fetched
├── WeightsWrong     a file is there, but it is not the model
└── StartFailed      the model's process ended before it was ready
"""

WAYS_OUT = (
    "Run `pip install 'steadystream[embedded]'` and then `steady model install`, "
    "or set OPENAI_API_KEY or OPENAI_BASE_URL to use another model."
)


class EmbeddedError(Exception):
    """The embedded model cannot answer; the message says what to do."""


class NotInstalled(EmbeddedError):
    """The `embedded` extra is not installed."""


class WeightsMissing(EmbeddedError):
    """The weights are not here, or could not be fetched."""


class WeightsWrong(EmbeddedError):
    """A weights file has another hash than the model's."""


class StartFailed(EmbeddedError):
    """The model's process ended, or stayed silent, before it was ready."""
