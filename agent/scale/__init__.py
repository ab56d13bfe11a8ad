"""The same agent, routes and page on several processes, with Aegra as the engine.

Aegra (an Apache-2.0 server of the LangGraph API) brings the queue, the leases and the storage:
PostgreSQL keeps threads, runs and checkpoints, Redis the queue and the events. What it leaves to
others is here: one run of a thread at a time (`guard`), every event once to every reader
(`broker`), who somebody is (`auth`), and how much a user may have (`limits`). `server` puts it
together; it runs in an environment of its own, and nothing else imports what is here.
"""
