"""One pymysql connection to a Dolt server, with few statements and with error handling.

An idle tick is a connect and one query, so connecting sends no statement. pymysql's SET NAMES is
omitted: the handshake already selects utf8mb4, and Dolt respects the handshake. The session
variables are set only before a process's second statement, its first transaction, and the first
statement of a further connection. The first statement always reads current data, whatever the
server's autocommit is. It uses UTC_TIMESTAMP, which no time zone affects.

Each statement is sent after the answer to the one before. Neither statements in one text (`a; b`)
nor pipelining is safe: Dolt 1.86.4 and 2.2.0 execute `b` although `a` failed, and Dolt 2.2.0
cancels a statement if bytes of the next one arrive.
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
"""The session variables."""

if TYPE_CHECKING:
    _Connection = Connection[Any]
else:
    _Connection = Connection  # only generic in the type stubs


def _datetime(text: str) -> datetime | str:
    """Return a DATETIME or TIMESTAMP as aware UTC. Return invalid dates ('0000-00-00 00:00:00') as
    text.
    """
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
        """Do nothing. This saves one round trip for each process (see the module docstring)."""


class StatementResult(NamedTuple):
    rows: list[Row]
    matched: int
    """Number of rows that a write matched."""
    names: list[str]
    """Names of the columns."""
    warnings: int


class DoltConnection:
    """A connection that sends statements and records whether a transaction is open.

    Its methods raise only the classes of ``errors``.
    """

    def __init__(self, address: ServerAddress) -> None:
        self.address = address
        self.in_transaction = False
        self._connection: Connection[Any] | None = None
        self.connections = 0
        """Number of connections made so far. The locks of an earlier connection are released."""
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
        """Send a statement and return its result.

        Args:
            again: whether the statement is safe to repeat. If so, a lost connection is reopened
                once.
            session: whether to set the session variables even before a first statement.
            each: function that converts each row as it arrives, for large results.
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
        """Send COMMIT or ROLLBACK. No transaction is open afterwards, whatever the answer."""
        try:
            self.send(sql)
        finally:
            self.in_transaction = False

    def abandon(self) -> None:
        """Roll back after an error, without raising.

        If the rollback fails too, the connection is closed, and the server rolls back.
        """
        try:
            if self._connection is not None:
                self.end("ROLLBACK")
        except Exception:
            self.discard()
        self.in_transaction = False

    def interrupt(self) -> None:
        """Close the connection in the middle of a transaction. The server rolls back."""
        self.in_transaction = False
        self.discard()

    def discard(self) -> None:
        """Close the socket without a goodbye: an answer may still be arriving on it."""
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
            # A new connection would run the rest of the transaction outside of it.
            if self.in_transaction:
                raise pymysql.OperationalError(2006, "the connection was lost in this transaction")
            self._connect()
        connection = self._connection
        assert connection is not None
        text = self._text(connection, sql, params)
        try:
            with connection.cursor(SSCursor if each else None) as cursor:
                # An idle tick sends one statement and needs no session variables.
                if not self._session and (self._sent or session or self.connections > 1):
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
        # An interrupted read leaves an answer on the connection.
        except BaseException:
            self.discard()
            raise

    def _text(self, connection: Connection[Any], sql: str, params: Sequence[Param]) -> str:
        """Return the SQL with the parameters as literals.

        pymysql's % formatting is not used, so a % in the SQL or a ? in a string needs no escaping.
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
                # Count the rows matched, not the rows changed: a guard checks for a match.
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
                f"Could not use the CA file: {error}.",
                where=self.address.ca,
                fix="Set tls to the path of a PEM file, for example tls=/path/to/ca.pem.",
            ) from None

    def _unreached(self, error: Exception) -> NoReturn:
        """Raise the reason for a failed connect, or the own class of a rejected login or
        certificate.
        """
        code, text = _code(error), str(error.args[1]) if len(error.args) > 1 else str(error)
        if isinstance(error, pymysql.MySQLError) and code:
            translated = translate(code, text, self.address)
            if not isinstance(translated, Unreachable) or is_tls(text, self.address):
                self._fail(error)
        cause = getattr(error, "original_exception", None)
        why = reason(code, text[:100], cause, self.address, CONNECT_SECONDS)
        raise Unreachable(
            f"Can't reach the database server. {why.message}",
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
        """Raise the class of ``errors`` for the driver's error. Discard a lost connection."""
        code, text = _code(error), str(error.args[1]) if len(error.args) > 1 else str(error)
        if self._lost(error):
            self.discard()
        translated = translate(code, text, self.address)
        if (
            isinstance(translated, AccessDenied)
            and self._connection is None
            and not self.address.password
        ):
            translated.with_detail("; no password was given")
        if isinstance(translated, Unreachable) and "timed out" in text:
            limits = f"; limits are {CONNECT_SECONDS} s to connect, {ANSWER_SECONDS} s to answer"
            translated.with_detail(limits)
        raise translated from error


def _code(error: Exception) -> int:
    return error.args[0] if error.args and isinstance(error.args[0], int) else 0
