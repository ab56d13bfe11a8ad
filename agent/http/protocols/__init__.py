"""Protocols of others, each a translation of the same events: whatever client speaks one of them.

`base` starts, joins and stops the runs and tells their errors, for all of them. A protocol adds
its requests, and a pure translation of a run's events.
"""
