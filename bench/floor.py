"""The floor of a tick: a Python process that imports pymysql, connects, and runs one query.

Arguments: host, port, user, database. The option 'bare' omits the default TLS setup of pymysql, as
dolt_watch does. The option 'held' prints the maximum memory of the process in KB.
"""

import sys

import pymysql

host, port, user, database, *words = sys.argv[1:]
connection = pymysql.connect(
    host=host,
    port=int(port),
    user=user,
    database=database,
    autocommit=True,
    ssl_disabled="bare" in words,
)
with connection.cursor() as cursor:
    cursor.execute("SELECT HASHOF('HEAD')")
    cursor.fetchall()
if "held" in words:
    with open("/proc/self/status") as told:  # noqa: PTH123 - pathlib is more than the floor needs
        print(next(line.split()[1] for line in told if line.startswith("VmHWM:")))
connection.close()
