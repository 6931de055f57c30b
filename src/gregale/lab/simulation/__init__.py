"""Simulation: the real engine, executor and api code on a virtual clock, a simulated bus and a database in memory.

A seed draws the load and the faults: processes crash, hang, come and leave; messages are lost, repeated and late; database
and broker go away, commits are made without a word. Invariants are checked after every commit; then the faults stop, and
everything must come to rest as it should. The same seed does the same again.
"""

from gregale.lab.simulation.run import Campaign, Failure, Outcome, campaign, simulate

__all__ = ["Campaign", "Failure", "Outcome", "campaign", "simulate"]
