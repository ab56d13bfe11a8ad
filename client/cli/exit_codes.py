"""How `steady` ends, for scripts: README lists these."""

OK = 0
FAILED = 1
USAGE = 2
NO_SERVER = 3
WAITS_FOR_DECISION = 4
INTERRUPTED = 130
