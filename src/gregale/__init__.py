"""Gregale: a workflow service for work that must finish.

The packages, from the ground up: `language` and `expressions`; `core`, the pure decision core; `store`, `bus` and
`actions`; `engine`, `executor` and `cluster` around the core; `api`; and on top the command line, its `client`, the rehearsal
of workflows and the benchmarks. A package imports only from those before it (checked by import-linter).
"""

__version__ = "0.1.0"
