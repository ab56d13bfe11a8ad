"""Metrics, traces and logs: what whoever runs the server sees of it.

Everything here is OpenTelemetry's; it records nothing until a server starts it.
"""
