"""A scratch database beside a state store: nobody else sees it, and it is gone when it is closed.

`plan` gathers a load in it, with the store attached read-only.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from secrets import token_hex
from urllib.parse import quote

from syncengine.errors import StoreError
from syncengine.hashing import HASH_VERSION
from syncengine.store.driver import Connection, database_of, open_for_reading, sqlite3, translating
from syncengine.store.file import create
from syncengine.store.schema import STAGING, migrations


@contextmanager
def scratch(path: Path) -> Iterator[Connection]:
    """Open a scratch database that nobody else sees and that is gone when it is closed, however that is.

    With a state store its tables are read through it; without one, it holds empty ones. It lies beside the
    store, because it holds the same people's data.
    """
    if path.exists():
        with closing(open_for_reading(path)) as state, translating(path):
            if migrations.pending(database_of(state)):
                raise StoreError(
                    f"{path}: was written by an older syncengine; run syncengine load once, which brings it "
                    "up to date, then plan again"
                )
    connection = _open_scratch(path.with_name(f"{path.name}.plan-{token_hex(8)}"))
    try:
        with translating(path):
            if path.exists():
                connection.execute("ATTACH ? AS state", (f"file:{quote(str(path.absolute()))}?mode=ro",))
                for statement in STAGING:
                    connection.execute(statement)
            else:
                migrations.apply(database_of(connection))
                connection.execute(
                    "INSERT INTO space (only, secret, hash_version) VALUES (1, zeroblob(32), ?)",
                    (HASH_VERSION,),
                )
            yield connection
    finally:
        connection.close()


def _open_scratch(path: Path) -> Connection:
    """Open a new file and take its name away."""
    create(path)
    try:
        with translating(path):
            connection = sqlite3.connect(
                f"file:{quote(str(path.absolute()))}?mode=rw", uri=True, isolation_level=None
            )
            try:
                connection.execute("PRAGMA journal_mode = OFF").fetchone()
                connection.execute("PRAGMA temp_store = MEMORY")
                connection.execute("PRAGMA synchronous = OFF")
                connection.execute("CREATE TABLE opened (x)")  # the file is there before its name goes
                connection.execute("DROP TABLE opened")
            except BaseException:
                connection.close()
                raise
    finally:
        path.unlink()
    return connection
