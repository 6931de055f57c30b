"""The lab: real servers and components as processes of this machine, on free ports of the loopback interface, in folders of
their own; and everything that can happen to them.

Each process is started and stopped by its id, never by name, and is gone when the program that started it is.
"""

from gregale.lab.components import Component
from gregale.lab.lab import Lab
from gregale.lab.proxy import Links, Proxy
from gregale.lab.servers import DatabaseServer, LabError, MariaDB, PostgreSQL, RabbitMQ, Server

__all__ = [
    "Component",
    "DatabaseServer",
    "Lab",
    "LabError",
    "Links",
    "MariaDB",
    "PostgreSQL",
    "Proxy",
    "RabbitMQ",
    "Server",
]
