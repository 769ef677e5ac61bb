"""The wire to a Dolt server: one pymysql connection, as few round trips as can be, and what
happens when it breaks.

An idle tick is connect + one query. So nothing is sent at connect: pymysql's SET NAMES is left
out (the handshake has already named utf8mb4, and Dolt heeds it), and the session is set only
before a connection's second statement, or its first transaction: the first one always sees fresh
state, whatever the server's autocommit is, and reads no clock that a time zone could move
(UTC_TIMESTAMP).
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import pymysql
from pymysql.connections import Connection
from pymysql.constants import CLIENT, FIELD_TYPE
from pymysql.converters import conversions
from pymysql.cursors import SSCursor

from dolt_watch.engines import Param, Row
from dolt_watch.engines.address import ServerAddress
from dolt_watch.engines.dolt.connection_errors import reason
from dolt_watch.engines.dolt.errors import LOST, is_tls, translate
from dolt_watch.engines.sql_text import split_parameters, sql_timestamp
from dolt_watch.errors import AccessDenied, SettingsError, Unreachable

CONNECT_SECONDS = 10
ANSWER_SECONDS = 60
SESSION = "SET @@session.autocommit = 1, @@session.time_zone = '+00:00'"


if TYPE_CHECKING:
    _Connection = Connection[Any]
else:
    _Connection = Connection  # generic in its type stubs only


def _datetime(text: str) -> datetime | str:
    """A DATETIME or TIMESTAMP as aware UTC; what is no date ('0000-00-00 00:00:00') stays text."""
    try:
        return datetime.fromisoformat(text + "+00:00")
    except ValueError:
        return text


_CONV: dict[Any, Any] = {
    **conversions,
    FIELD_TYPE.DATETIME: _datetime,
    FIELD_TYPE.TIMESTAMP: _datetime,
}


class _QuietConnection(_Connection):
    def set_character_set(self, charset: str, collation: str | None = None) -> None:
        """Nothing: see the module's text. Saves a round trip of every process."""


class StatementResult(NamedTuple):
    rows: list[Row]
    matched: int
    """Rows that a write matched."""
    names: list[str]
    """Of the columns."""
    warnings: int


class DoltConnection:
    """Sends statements; knows whether a transaction is open.

    Raises the classes of ``errors`` only.
    """

    def __init__(self, address: ServerAddress) -> None:
        self.address = address
        self.in_transaction = False
        self._connection: Connection[Any] | None = None
        self.connections = 0
        """How many were made so far: what hangs on one (a lock) is gone with it."""
        self._sent = False
        self._session = False
        self._connect()

    def send(
        self,
        sql: str,
        params: Sequence[Param] = (),
        *,
        again: bool = False,
        session: bool = False,
        each: Callable[[Row], Any] | None = None,
    ) -> StatementResult:
        """``again``: harmless to repeat, so a lost connection is made anew once.

        ``session``: the statement wants the session set even if it is the first one. ``each``:
        what becomes of each row as it comes in, where the rows themselves would be many.
        """
        again = again and not self.in_transaction
        try:
            return self._once(sql, params, session, each)
        except pymysql.MySQLError as error:
            if not (again and self._lost(error) and "timed out" not in str(error)):
                self._fail(error)
        self._connect()
        try:
            return self._once(sql, params, session, each)
        except pymysql.MySQLError as error:
            self._fail(error)

    def begin(self) -> None:
        self.send("START TRANSACTION", again=True, session=True)
        self.in_transaction = True

    def end(self, sql: str) -> None:
        """COMMIT or ROLLBACK; whatever the answer, no transaction is open after it."""
        try:
            self.send(sql)
        finally:
            self.in_transaction = False

    def abandon(self) -> None:
        """Roll back after an error, quietly: if that fails too, the connection goes, and the
        server rolls back itself.
        """
        try:
            if self._connection is not None:
                self.end("ROLLBACK")
        except Exception:
            self.discard()
        self.in_transaction = False

    def interrupt(self) -> None:
        """Drop the connection in the middle of a transaction; the server rolls back."""
        self.in_transaction = False
        self.discard()

    def discard(self) -> None:
        """Close the socket without a word: an answer may still be under way on it."""
        if self._connection is not None:
            self._connection._force_close()  # type: ignore[attr-defined]
        self._connection = None

    def close(self) -> None:
        if self._connection is not None and self._connection.open:
            self._connection.close()
        self._connection = None

    def _once(
        self, sql: str, params: Sequence[Param], session: bool, each: Callable[[Row], Any] | None
    ) -> StatementResult:
        if self._connection is None:
            if self.in_transaction:
                raise pymysql.OperationalError(2006, "the connection was lost in this transaction")
            self._connect()
        connection = self._connection
        assert connection is not None
        text = self._text(connection, sql, params)
        try:
            with connection.cursor(SSCursor if each else None) as cursor:
                if not self._session and (self._sent or session):
                    cursor.execute(SESSION)
                    self._session = True
                self._sent = True
                cursor.execute(text)
                names = [column[0] for column in cursor.description or ()]
                rows = (
                    [each(row) for row in cursor]
                    if each
                    else list(cursor.fetchall())
                    if names
                    else []
                )
                return StatementResult(rows, cursor.rowcount, names, cursor.warning_count)
        except pymysql.MySQLError:
            raise
        except BaseException:
            self.discard()
            raise

    def _text(self, connection: Connection[Any], sql: str, params: Sequence[Param]) -> str:
        """The parameters go in as literals here, not by pymysql's %: a % in SQL needs no care
        then, nor does a ? in a string.
        """
        if not params:
            return sql
        parts = split_parameters(sql)
        if len(parts) != len(params) + 1:
            raise ValueError(
                f"{len(parts) - 1} parameters in the SQL, {len(params)} given: {sql[:200]}"
            )
        pieces = [parts[0]]
        for part, value in zip(parts[1:], params, strict=True):
            pieces.append(
                f"'{sql_timestamp(value)}'"
                if isinstance(value, datetime)
                else connection.escape(value)
            )
            pieces.append(part)
        return "".join(pieces)

    def _connect(self) -> None:
        address = self.address
        self.discard()
        try:
            connection = _QuietConnection(
                defer_connect=True,
                host=address.host,
                port=address.port,
                user=address.user,
                password=address.password,
                database=address.database or None,
                unix_socket=address.socket or None,
                charset="utf8mb4",
                autocommit=None,
                conv=_CONV,
                # rows matched, not rows that really changed: that is what a guard asks
                client_flag=CLIENT.FOUND_ROWS,
                connect_timeout=CONNECT_SECONDS,
                read_timeout=CONNECT_SECONDS,  # for the greeting and the login
                write_timeout=CONNECT_SECONDS,
                **self._tls(),
            )
            connection.connect(self._unix_socket(connection) if address.socket else None)
        except pymysql.MySQLError as error:
            self._unreached(error)
        except (ValueError, IndexError, TypeError, AssertionError, struct.error) as error:
            # pymysql tried to parse the greeting of something else.
            self._unreached(error)
        connection._read_timeout = connection._write_timeout = ANSWER_SECONDS  # type: ignore[attr-defined]
        self._connection = connection
        self._sent = self._session = False
        self.connections += 1

    def _unix_socket(self, connection: Connection[Any]) -> socket.socket:
        """Return a connected socket. pymysql 1.2 leaks its own if it can't connect it."""
        connection._secure = True  # type: ignore[attr-defined]
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            made.settimeout(CONNECT_SECONDS)
            made.connect(self.address.socket)
        except OSError as error:
            made.close()
            failed = pymysql.OperationalError(
                2003, f"Can't connect to {self.address.socket} ({error})"
            )
            failed.original_exception = error  # type: ignore[attr-defined]
            raise failed from error
        return made

    def _tls(self) -> dict[str, Any]:
        if not self.address.uses_tls:
            return {"ssl_disabled": True}
        try:
            return {"ssl": ssl.create_default_context(cafile=self.address.ca or None)}
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(
                f"the CA file cannot be used: {error}",
                where=self.address.ca,
                fix="tls=/path/to/ca.pem, a PEM file",
            ) from None

    def _unreached(self, error: Exception) -> NoReturn:
        """Raise why there is no connection; a refused login or certificate as ever."""
        code, text = _code(error), str(error.args[1]) if len(error.args) > 1 else str(error)
        if isinstance(error, pymysql.MySQLError) and code:
            ours = translate(code, text, self.address)
            if not isinstance(ours, Unreachable) or is_tls(text, self.address):
                self._fail(error)
        cause = getattr(error, "original_exception", None)
        why = reason(code, text[:100], cause, self.address, CONNECT_SECONDS)
        raise Unreachable(
            f"The database server cannot be reached: {why.says}",
            where=self.address.display_name,
            fix=why.fix,
        ) from error

    @staticmethod
    def _lost(error: pymysql.MySQLError) -> bool:
        return (
            isinstance(error, pymysql.InterfaceError | pymysql.OperationalError)
            and _code(error) in LOST
        )

    def _fail(self, error: pymysql.MySQLError) -> NoReturn:
        """Raise ours for the driver's; a connection that is gone is forgotten."""
        code, text = _code(error), str(error.args[1]) if len(error.args) > 1 else str(error)
        if self._lost(error):
            self.discard()
        ours = translate(code, text, self.address)
        if (
            isinstance(ours, AccessDenied)
            and self._connection is None
            and not self.address.password
        ):
            ours.with_detail("; no password was given")
        if isinstance(ours, Unreachable) and "timed out" in text:
            limits = f"; limits are {CONNECT_SECONDS} s to connect, {ANSWER_SECONDS} s to answer"
            ours.with_detail(limits)
        raise ours from error


def _code(error: Exception) -> int:
    return error.args[0] if error.args and isinstance(error.args[0], int) else 0
