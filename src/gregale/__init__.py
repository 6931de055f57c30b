"""Gregale: a workflow service for work that must finish.

The packages, from the ground up: `language` and `expressions`; `core`, the pure decision core; `store`, `bus` and
`actions`; `engine`, `executor` and `cluster` around the core; `api`; `service`, a process of any kind; and on top the command line, its
`client`, the rehearsal of workflows, the benchmarks and the `lab`, where all of it is broken on purpose. A package imports only from those before it (checked by import-linter).
"""

__version__ = "0.1.0"
