"""Members and leases: every process is a row with a heartbeat, and engines own partitions while theirs goes on.

Who is alive is judged by watching: a heartbeat that does not change while the watcher itself reaches the database. So the
clocks of machines do not matter, and an outage of the database, which silences all alike, declares nobody lost.
"""

from gregale.cluster.clock import Clock
from gregale.cluster.leases import Leases
from gregale.cluster.membership import Membership
from gregale.cluster.settings import ClusterSettings

__all__ = ["Clock", "ClusterSettings", "Leases", "Membership"]
