"""The floor of a dispatch: the minimum of writes and requests.

``python bare.py HOST PORT USER DATABASE BOARD`` does one dispatch. It commits twice, before the
POST and after it. Each commit has the bead's status or note, and the row of ``events`` that bd
itself would write. There is no lock between two dispatches, and no record except the note.
"""

import http.client
import sys
import uuid
from typing import Any
from urllib.parse import urlsplit

import pymysql

ELIGIBLE = (
    "SELECT id FROM issues WHERE assignee = 'agent' AND status = 'open' AND acceptance_criteria <>"
    " '' ORDER BY priority, updated_at LIMIT 1"
)


def commit(cursor: Any, bead: str, status: str, note: str) -> None:
    cursor.execute("START TRANSACTION")
    cursor.execute(
        "UPDATE issues SET status = %s, notes = CONCAT(notes, '\n', %s), updated_at ="
        " UTC_TIMESTAMP() WHERE id = %s",
        (status, note, bead),
    )
    cursor.execute(
        "INSERT INTO events (id, issue_id, event_type, actor, new_value, created_at) "
        "VALUES (%s, %s, 'status_changed', 'bare', %s, UTC_TIMESTAMP())",
        (str(uuid.uuid4()), bead, note),
    )
    cursor.execute("CALL DOLT_COMMIT('-am', %s)", (note,))
    cursor.execute("ROLLBACK")


def both(cursor: Any, bead: str) -> None:
    """Run the two commits of a dispatch."""
    commit(cursor, bead, "in_progress", "auto-dispatcher claimed")
    commit(cursor, bead, "in_progress", "dispatched: job=0123456789ab")


def main() -> None:
    host, port, user, database, board = sys.argv[1:]
    connection = pymysql.connect(
        host=host, port=int(port), user=user, database=database, ssl_disabled=True
    )
    cursor = connection.cursor()
    cursor.execute(ELIGIBLE)
    (bead,) = cursor.fetchall()[0]
    at = urlsplit(board)
    target = http.client.HTTPConnection(str(at.hostname), at.port)
    target.request("GET", "/api/agent-status")
    target.getresponse().read()
    commit(cursor, bead, "in_progress", "auto-dispatcher claimed")
    headers = {"Content-Type": "application/json"}
    target.request("POST", "/api/agent-dispatch", f'{{"taskId": "{bead}"}}', headers)
    answer = target.getresponse().read().decode()
    commit(cursor, bead, "in_progress", f"dispatched: {answer}")
    print("dispatched", bead)
    connection.close()


if __name__ == "__main__":
    main()
