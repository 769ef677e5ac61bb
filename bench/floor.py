"""The floor of a tick: a Python process that imports pymysql, connects, and asks one query.

Arguments: host, port, user, database, and 'bare' to leave out the TLS set-up that pymysql does by default, as we do.
"""

import sys

import pymysql

host, port, user, database, *bare = sys.argv[1:]
connection = pymysql.connect(
    host=host, port=int(port), user=user, database=database, autocommit=True, ssl_disabled=bool(bare)
)
with connection.cursor() as cursor:
    cursor.execute("SELECT HASHOF('HEAD')")
    cursor.fetchall()
connection.close()
