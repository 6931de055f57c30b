"""Members: every process is a row, so that what it holds can be told from what it has left behind."""

from gregale.cluster.members import Member, enter, leave

__all__ = ["Member", "enter", "leave"]
