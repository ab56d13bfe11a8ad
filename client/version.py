"""The version of the client and of the whole project."""

__version__ = "0.1.0"
