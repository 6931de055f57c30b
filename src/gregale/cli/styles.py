"""Colours of states, wherever they are shown."""

STYLES = {
    "SUCCESS": "green",
    "ERROR": "bold red",
    "CANCELLED": "magenta",
    "SKIPPED": "yellow",
    "RUNNING": "cyan",
    "DELAYED": "blue",
    "PAUSED": "yellow",
    "WAITING": "dim",
    "IDLE": "dim",
}
