"""The lab: real servers as processes of this machine, on free ports of the loopback interface, in folders of their own.

Each is started and stopped by the id of its process, never by name, and is gone when the program that started it is.
"""

from gregale.lab.servers import DatabaseServer, LabError, MariaDB, PostgreSQL, RabbitMQ, Server

__all__ = ["DatabaseServer", "LabError", "MariaDB", "PostgreSQL", "RabbitMQ", "Server"]
