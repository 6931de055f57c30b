"""PostgreSQL, MariaDB and RabbitMQ from Debian's packages. None runs as root, so root starts them as the user of their package."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
import weakref
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import sqlalchemy as sa


class LabError(Exception):
    """A server of the lab cannot be started: what is missing, and what to do."""


class Server(ABC):
    """One server process. `with PostgreSQL() as server:` starts it and, whatever happens, stops it."""

    name = ""
    user = ""
    patience = 60.0
    """Seconds until it must answer."""

    def __init__(self, folder: Path | None = None):
        # not below a folder that only root may enter: the server runs as another user
        self.folder = folder or Path(tempfile.mkdtemp(prefix=f"gregale-{self.name}-", dir="/tmp"))
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def prepare(self) -> None:
        """Make the server's files. Raises LabError."""

    @abstractmethod
    def command(self) -> Sequence[str]:
        """What runs it, in the foreground."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether it takes connections and serves them."""

    def start(self) -> None:
        """Raises LabError."""
        if not any(self.folder.iterdir()):
            self.own(self.folder)
            self.prepare()
        self.process = self._spawn(self.command())
        weakref.finalize(self, _end, self.process)
        deadline = time.monotonic() + self.patience
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise LabError(f"{self.name} did not start; its log:\n{self._log()}")
            time.sleep(0.05)

    def stop(self) -> None:
        """As an operator would."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """As if the power were cut off the process."""
        self._signal(signal.SIGKILL)

    def pause(self) -> None:
        """As if it hung."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    @property
    def pid(self) -> int:
        """The process that is the server. Raises LabError when it does not run."""
        if self.process is None or self.process.poll() is not None:
            raise LabError(f"{self.name} does not run")
        return self.process.pid

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def _signal(self, number: int) -> None:
        if self.process is not None and self.process.poll() is None:
            os.kill(self.pid, number)
            self.process.wait(60)

    def __enter__(self) -> Server:
        try:
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    # Processes ------------------------------------------------------------------------------------------------------

    def own(self, path: Path) -> None:
        if os.geteuid() == 0:
            try:
                found = pwd.getpwnam(self.user)
            except KeyError:
                raise LabError(
                    f"There is no user '{self.user}': install {self.name} (make test does, as root)"
                ) from None
            os.chown(path, found.pw_uid, found.pw_gid)

    def _as_user(self, command: Sequence[str]) -> list[str]:
        if os.geteuid() != 0:
            return list(command)
        return ["setpriv", "--reuid", self.user, "--regid", self.user, "--clear-groups", "--", *command]

    def _run(self, *command: str) -> None:
        """Raises LabError with what it printed."""
        done = subprocess.run(
            self._as_user(command),
            cwd=self.folder,
            env=self._environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise LabError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")

    def _spawn(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        with (self.folder / "output.log").open("ab") as log:
            return subprocess.Popen(
                self._as_user(command),
                cwd=self.folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the program that started it, which then stops it
            )

    def _environment(self) -> dict[str, str]:
        return {"HOME": str(self.folder), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}

    def _log(self) -> str:
        log = self.folder / "output.log"
        return log.read_text(errors="replace")[-4000:] if log.exists() else ""


class DatabaseServer(Server):
    @abstractmethod
    def url(self, database: str) -> str:
        """For `gregale.store.Database`."""

    def answers(self) -> bool:
        """Whether it takes queries."""
        engine = sa.create_engine(self.url(""), poolclass=sa.pool.NullPool)
        try:
            with engine.connect() as connection:
                connection.execute(sa.text("SELECT 1"))
        except sa.exc.DBAPIError:
            return False
        return True

    def create_database(self) -> str:
        """A new, empty database; gives its URL."""
        name = f"g{uuid.uuid4().hex}"
        engine = sa.create_engine(self.url(""), poolclass=sa.pool.NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(sa.text(f"CREATE DATABASE {name}"))
        return self.url(name)


class PostgreSQL(DatabaseServer):
    name = "postgresql"
    user = "postgres"

    def stop(self) -> None:
        """Its fast shutdown: the other one waits until every client has gone."""
        self._signal(signal.SIGINT)

    def prepare(self) -> None:
        initdb = [
            str(_program("initdb")),
            "-D",
            str(self.folder / "data"),
            "-A",
            "trust",
            "-U",
            "postgres",
            "-E",
            "UTF8",
        ]
        self._run(*initdb, "--locale=C.UTF-8", "--no-sync")

    def command(self) -> Sequence[str]:
        options = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "shared_buffers": "128MB",
            "max_connections": 200,
            "log_min_messages": "error",
            "deadlock_timeout": "100ms",
        }
        given = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        return [str(_program("postgres")), "-D", str(self.folder / "data"), *given]

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/{database or 'postgres'}"


class MariaDB(DatabaseServer):
    name = "mariadb"
    user = "mysql"

    def prepare(self) -> None:
        (self.folder / "my.cnf").write_text(
            f"[mariadbd]\ndatadir={self.folder}/data\ntmpdir={self.folder}\nsocket={self.folder}/s.sock\n"
            f"pid-file={self.folder}/pid\nbind-address=127.0.0.1\nport={self.port}\nskip-name-resolve\n"
            "performance_schema=OFF\ninnodb_buffer_pool_size=128M\ninnodb_log_file_size=48M\n"
            "innodb_flush_log_at_trx_commit=1\ninnodb_snapshot_isolation=ON\nmax_allowed_packet=256M\nmax_connections=200\n"
        )
        self._run(
            _found("mariadb-install-db", "mariadb-server"),
            f"--defaults-file={self.folder}/my.cnf",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
        )

    def command(self) -> Sequence[str]:
        return [_found("mariadbd", "mariadb-server"), f"--defaults-file={self.folder}/my.cnf"]

    def url(self, database: str) -> str:
        return f"mariadb+pymysql://root@127.0.0.1:{self.port}/{database or 'mysql'}?charset=utf8mb4"


class RabbitMQ(Server):
    """One broker. Erlang finds its nodes by a small program, epmd, of which this one has its own."""

    name = "rabbitmq"
    user = "rabbitmq"

    def __init__(self, folder: Path | None = None):
        super().__init__(folder)
        self._ports = (free_port(), free_port())
        self._epmd: subprocess.Popen[bytes] | None = None

    def prepare(self) -> None:
        (self.folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\nloopback_users = none\ndefault_user = gregale\ndefault_pass = gregale\n"
            "vm_memory_high_watermark.absolute = 1GiB\ndisk_free_limit.absolute = 200MB\nheartbeat = 10\n"
            "raft.wal_max_size_bytes = 67108864\nlog.file.level = warning\n"
        )
        (self.folder / "enabled_plugins").write_text("[].")
        cookie = self.folder / ".erlang.cookie"
        cookie.write_text(uuid.uuid4().hex)
        cookie.chmod(0o400)
        for file in self.folder.iterdir():
            self.own(file)

    def start(self) -> None:
        _found("rabbitmqctl", "rabbitmq-server")
        if not any(self.folder.iterdir()):
            self.own(self.folder)
            self.prepare()
        if self._epmd is None:
            self._epmd = self._spawn([_found("epmd", "rabbitmq-server"), "-port", str(self._ports[0])])
            weakref.finalize(self, _end, self._epmd)
            deadline = time.monotonic() + self.patience
            while not _listens(self._ports[0]):  # a broker that found none would start another, and leave it behind
                if time.monotonic() > deadline:
                    raise LabError(f"epmd did not start; its log:\n{self._log()}")
                time.sleep(0.01)
        super().start()

    def wipe(self) -> None:
        """Forget every queue and message. Only while it does not run."""
        shutil.rmtree(self.folder / "mnesia", ignore_errors=True)

    def command(self) -> Sequence[str]:
        (self.folder / "pid").unlink(missing_ok=True)
        return ["/usr/lib/rabbitmq/bin/rabbitmq-server"]

    @property
    def pid(self) -> int:
        """A script starts the server, which says its own id in a file."""
        try:
            return int((self.folder / "pid").read_text())
        except (OSError, ValueError):
            return super().pid

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self.process.wait(60)

    def answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                connection.sendall(b"AMQP\0\0\x09\x01")
                return bool(connection.recv(1))
        except OSError:
            return False

    def url(self) -> str:
        """For the setting broker.url."""
        return f"amqp://gregale:gregale@127.0.0.1:{self.port}/"

    def _environment(self) -> dict[str, str]:
        return super()._environment() | {
            "RABBITMQ_NODENAME": f"gregale{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(self._ports[1]),
            "ERL_EPMD_PORT": str(self._ports[0]),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none",
        }

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        if self._epmd is not None:
            _end(self._epmd)
        super().__exit__(kind, error, trace)


def free_port() -> int:
    """A port of the loopback interface that nothing listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def _program(name: str) -> Path:
    """A server program of the newest PostgreSQL that is installed. Raises LabError."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda p: int(p.parts[-3]))
    if not found:
        raise LabError(f"PostgreSQL's '{name}' is not installed: apt-get install postgresql")
    return found[-1]


def _found(name: str, package: str) -> str:
    found = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
    if found is None:
        raise LabError(f"'{name}' is not installed: apt-get install {package}")
    return found


def _end(process: subprocess.Popen[bytes]) -> None:
    """The server goes when the program that started it does."""
    if process.poll() is None:
        process.kill()
        process.wait()
