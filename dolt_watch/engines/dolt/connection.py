"""One pymysql connection to a Dolt server, with few statements and with error handling.

An idle tick is a connect and one query, so connecting sends no statement. pymysql's SET NAMES is
omitted: the handshake already selects utf8mb4, and Dolt respects the handshake. The session
variables are set only before a connection's second statement or first transaction. The first
statement always reads current data, whatever the server's autocommit is. It uses UTC_TIMESTAMP,
which no time zone affects.

Statements can be queued until the next one is sent. They are sent one after the other, each after
the answer to the one before, and a failure stops them. Neither statements in one text (`a; b`) nor
pipelining is safe: Dolt 1.86.4 and 2.2.0 execute `b` although `a` failed, and Dolt 2.2.0 cancels a
statement if bytes of the next one arrive.
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeVar

import pymysql
from pymysql.connections import Connection
from pymysql.constants import CLIENT, FIELD_TYPE
from pymysql.converters import conversions

from dolt_watch.engines import Param, Read, Row
from dolt_watch.engines.address import ServerAddress
from dolt_watch.engines.dolt.connection_errors import reason
from dolt_watch.engines.dolt.errors import LOST, is_tls, translate
from dolt_watch.engines.sql_text import split_parameters, sql_timestamp
from dolt_watch.errors import (
    AccessDenied,
    Conflict,
    DoltWatchError,
    SettingsError,
    Unreachable,
)

CONNECT_SECONDS = 10
ANSWER_SECONDS = 60
T = TypeVar("T")

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


class _Queued(NamedTuple):
    """A statement that waits for the next one."""

    sql: str
    params: Sequence[Param] = ()
    unmatched: str = ""
    """The message of the Conflict if the statement matches no row. '': it may match none."""


BEGIN = _Queued("START TRANSACTION")
SESSION = _Queued("SET @@session.autocommit = 1, @@session.time_zone = '+00:00'")


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
        self._queue: list[_Queued] = []
        self._connect()

    def send(
        self,
        sql: str,
        params: Sequence[Param] = (),
        *,
        again: bool = False,
        session: bool = False,
        each: Callable[[Row], Any] | None = None,
        then: str = "",
    ) -> StatementResult:
        """Send a statement and return its result. Queued statements are sent before it.

        Args:
            again: whether the statement is safe to repeat. If so, a lost connection is reopened
                once.
            session: whether to set the session variables even before a first statement.
            each: function that converts each row as it arrives, for large results.
            then: a statement to send right after it, whatever its answer: ROLLBACK.

        Raises:
            Conflict: A queued statement matched no row.
        """
        queued, self._queue = self._queue, []
        statements = [*queued, _Queued(sql, params)]
        if each:
            return self._repeated(lambda: self._stream(statements, each), again)
        # Nothing of a transaction that begins with these statements outlasts a lost connection.
        again = BEGIN in statements or (again and not self.in_transaction)
        answers = self._repeated(
            lambda: self._exchange(statements, session or self.in_transaction, then), again
        )
        for answer, statement in zip(answers, statements, strict=False):
            if isinstance(answer, Exception):
                self._fail(answer)
            if statement.unmatched and not answer.matched:
                raise Conflict(statement.unmatched)
        last = answers[-1]
        assert isinstance(last, StatementResult)
        return last

    def ask(self, reads: Sequence[Read]) -> list[StatementResult | DoltWatchError]:
        """Send reads. Return the result or the error of each."""
        queued, self._queue = self._queue, []
        statements = [*queued, *(_Queued(sql, params) for sql, params in reads)]
        again = BEGIN in statements or not self.in_transaction
        answers = self._repeated(
            lambda: self._exchange(statements, self.in_transaction, "", go_on=True), again
        )
        for answer in answers[: len(queued)]:
            if isinstance(answer, Exception):
                self._fail(answer)
        return [
            self._translated(answer) if isinstance(answer, Exception) else answer
            for answer in answers[len(queued) :]
        ]

    def _repeated(self, exchange: Callable[[], T], again: bool) -> T:
        """Return the result. ``again``: reopen a lost connection once."""
        try:
            return exchange()
        except pymysql.MySQLError as error:
            if not (again and self._lost(error) and "timed out" not in str(error)):
                self._fail(error)
        self._connect()
        try:
            return exchange()
        except pymysql.MySQLError as error:
            self._fail(error)

    def queue(self, sql: str, params: Sequence[Param] = (), unmatched: str = "") -> None:
        """Send a statement of the open transaction together with the next one.

        ``unmatched``: the message of the Conflict if it matches no row. '': it may match none.
        """
        self._queue.append(_Queued(sql, params, unmatched))

    def flush(self) -> None:
        """Send the queued statements, if there are any, and read all of their answers."""
        if self._queue:
            last = self._queue.pop()
            if not self.send(last.sql, last.params).matched and last.unmatched:
                raise Conflict(last.unmatched)

    def begin(self) -> None:
        """Begin a transaction with the next statement, which must be a read.

        Its snapshot is of that moment.
        """
        self._queue = [BEGIN]
        self.in_transaction = True

    @property
    def has_begun(self) -> bool:
        """Whether the server has begun the open transaction."""
        return self.in_transaction and BEGIN not in self._queue

    def end(self, sql: str) -> None:
        """Send COMMIT or ROLLBACK. No transaction is open afterwards, whatever the answer."""
        begun, self._queue = self.has_begun, []
        try:
            if begun:
                self.send(sql)
        finally:
            self.in_transaction = False

    def commit(self, sql: str, params: Sequence[Param]) -> StatementResult:
        """Send DOLT_COMMIT and the ROLLBACK that ends its transaction.

        No transaction is open afterwards, whatever the answer.
        """
        try:
            return self.send(sql, params, then="ROLLBACK")
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
        self._queue = []
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

    def _exchange(
        self, statements: Sequence[_Queued], session: bool, then: str, *, go_on: bool = False
    ) -> list[StatementResult | pymysql.MySQLError]:
        """Send the statements, and return the answer or the error of each.

        An error is the last answer, unless the reads ``go_on``. So is a write that matched no row
        and had to. Raises the error of a lost connection.
        """
        connection = self._opened(statements)
        try:
            if not self._session and (self._sent or session):
                self._run(connection, SESSION)
                self._session = True
            self._sent = True
            answers: list[StatementResult | pymysql.MySQLError] = []
            for one in statements:
                try:
                    answers.append(self._run(connection, one))
                except pymysql.MySQLError as error:
                    if self._lost(error) or isinstance(error, pymysql.InternalError):
                        raise
                    answers.append(error)
                if not go_on and _failed(answers[-1], one):
                    break
        except pymysql.InternalError:  # The stream is out of step.
            self.discard()
            raise
        except pymysql.MySQLError:
            raise
        except BaseException:
            self.discard()
            raise
        if then:
            try:
                self._run(connection, _Queued(then))
            except pymysql.MySQLError:
                self.discard()  # The server rolls back when the connection ends.
        return answers

    def _opened(self, statements: Sequence[_Queued]) -> Connection[Any]:
        """Return the connection. Opens it, except in the middle of a transaction."""
        if self._connection is None:
            if self.in_transaction and BEGIN not in statements:
                raise pymysql.OperationalError(2006, "the connection was lost in this transaction")
            self._connect()
        assert self._connection is not None
        return self._connection

    def _run(self, connection: Connection[Any], statement: _Queued) -> StatementResult:
        """Send one statement and read its whole answer."""
        connection.query(self._text(connection, statement.sql, statement.params))
        result: Any = connection._result  # type: ignore[attr-defined]
        names = [column[0] for column in result.description or ()]
        return StatementResult(
            list(result.rows or ()), result.affected_rows, names, result.warning_count or 0
        )

    def _stream(self, statements: Sequence[_Queued], each: Callable[[Row], Any]) -> StatementResult:
        """Send the statements, and convert each row of the last as it arrives."""
        *before, last = statements
        connection = self._opened(statements)
        try:
            for one in [SESSION, *before] if self._sent and not self._session else before:
                self._run(connection, one)
                self._session = self._session or one == SESSION
            self._sent = True
            connection.query(self._text(connection, last.sql, last.params), unbuffered=True)
            result: Any = connection._result  # type: ignore[attr-defined]
            names = [column[0] for column in result.description or ()]
            rows = []
            while (row := result._read_rowdata_packet_unbuffered()) is not None:
                rows.append(each(row))
            return StatementResult(rows, result.affected_rows, names, result.warning_count or 0)
        except pymysql.MySQLError:
            raise
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
        """Raise the class of ``errors`` for the driver's error."""
        raise self._translated(error) from error

    def _translated(self, error: pymysql.MySQLError) -> DoltWatchError:
        """Return the class of ``errors`` for the driver's error. Discard a lost connection."""
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
        return translated


def _failed(answer: StatementResult | pymysql.MySQLError, statement: _Queued) -> bool:
    """Return whether no further statement may be sent."""
    if isinstance(answer, pymysql.MySQLError):
        return True
    return bool(statement.unmatched) and not answer.matched


def _code(error: Exception) -> int:
    return error.args[0] if error.args and isinstance(error.args[0], int) else 0
