"""The state store's schema, as migrations of sqlite-utils, and the expressions that define a state.

`DUE` and `STATE` are the one definition of what is due and of a contact's state; the partial index, the
producer, `plan`, `status` and `problems` all use them.
"""

from __future__ import annotations

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

DUE = "(accepted_hash IS NOT content_hash OR in_doubt = 1) AND problem_hash IS NOT content_hash"
"""Due: the content is not what was last accepted, or an earlier attempt has no definite answer; and no
problem is open for exactly this content."""

WEAKEST = "min(coalesce(unknown_identity, identity, 0), coalesce(identity, 0))"
"""Of an intent: the weakest identity class that attempts without a definite answer sent."""

UNKNOWN = "CASE WHEN coalesce(unknown_hash, content_hash) = content_hash THEN content_hash ELSE x'' END"
"""Of an intent: the content that attempts without a definite answer sent; of several, what equals none."""

_PLACED = (
    "SELECT n, notes, place, in_flight FROM (SELECT n, notes, run, "
    "row_number() OVER (PARTITION BY run ORDER BY rank) AS place FROM intents WHERE open = 1) "
    "JOIN runs ON runs.id = run"
)
NEVER_SENT = f"SELECT n, notes FROM ({_PLACED}) WHERE place > in_flight"
MAY_BE_SENT = f"SELECT n FROM ({_PLACED}) WHERE place <= coalesce(in_flight, place)"
"""Open intents of a dead run. Workers take changes in the order of their intents, so that only the first
`in_flight` open ones can have reached the wire."""

CRASHES_ALONE = 3
"""A contact that was alone in flight in so many crashes is held."""

OPEN_PROBLEM = "problem_hash = content_hash"
"""A problem is open only for the content it was recorded for."""

CONFIRMED = (
    "confirmed_hash = content_hash AND accepted_hash = content_hash AND in_doubt = 0 "
    "AND problem_hash IS NOT content_hash"
)
"""Confirmed: nothing to send, no problem, and seen in Qomon with exactly this content."""

AWAITING = "awaiting = 1"
"""Accepted, and no read has shown yet what became of it."""

DEAD = "dead_id = 1"
"""A read has shown that the contact of `remote_id` does not exist any more."""

BARE = "remote_id IS NULL AND identity = 0 AND (awaiting = 1 OR in_doubt = 1)"
"""To be found by a read although it has neither mail nor surname (`IdentityClass.NONE`)."""

UNKNOWN_TO_QOMON = "remote_id IS NULL AND accepted_hash IS NULL AND in_doubt = 0 AND missing = 0"
"""In the source, and nothing of it was ever accepted, nor may have been."""

STATE = f"""CASE
    WHEN n IN (SELECT n FROM intents WHERE run = :running AND open = 1) THEN 'in_flight'
    WHEN {OPEN_PROBLEM} THEN problem
    WHEN accepted_hash IS NOT content_hash OR in_doubt = 1 THEN 'changed'
    WHEN {CONFIRMED} THEN 'confirmed'
    ELSE 'accepted' END"""
"""A contact's one state, the first that applies. `:running`: the id of the run in progress, or NULL."""

migrations = Migrations("syncengine")


@migrations()
def m001_core(db: Database) -> None:
    """Make contacts and everything the pump writes about them."""
    for statement in f"""
        CREATE TABLE space (
            only INTEGER PRIMARY KEY CHECK (only = 1),
            secret BLOB NOT NULL,           -- keys the fingerprint and the tombstones
            base_url TEXT,
            key_fingerprint BLOB,
            group_id INTEGER,
            paused_until REAL,              -- a pause ordered by the server, Unix time
            hash_version INTEGER NOT NULL   -- of every contact, but while a new version is brought in
        ) STRICT;
        CREATE TABLE contacts (
            n INTEGER PRIMARY KEY,
            key TEXT NOT NULL UNIQUE,
            content_hash BLOB NOT NULL,
            hash_version INTEGER NOT NULL,
            identity INTEGER NOT NULL,      -- IdentityClass
            mail TEXT NOT NULL,             -- normalised, '' without
            name TEXT NOT NULL,             -- normalised surname and firstname, '' without surname
            accepted_hash BLOB,             -- content of the last 2xx
            accepted_at REAL,
            confirmed_hash BLOB,            -- content last seen applied
            remote_id INTEGER,              -- learned by a read
            in_doubt INTEGER NOT NULL DEFAULT 0,   -- an intent without a definite answer exists
            missing INTEGER NOT NULL DEFAULT 0,    -- not in the last snapshot
            problem TEXT,                   -- held, rejected, dropped, differs
            problem_hash BLOB,              -- the content it was recorded for
            problem_reason TEXT,
            problem_detail TEXT,
            problem_since REAL,
            problem_run INTEGER,
            released_hash BLOB,             -- a person released this content from being held
            loaded_at REAL NOT NULL,
            changed_at REAL NOT NULL,
            content BLOB NOT NULL,          -- canonical JSON
            accepted BLOB,                  -- NULL while accepted_hash = content_hash
            applied BLOB                    -- NULL while confirmed_hash = content_hash
        ) STRICT;
        CREATE INDEX contacts_due ON contacts (key, identity, accepted_at) WHERE {DUE};
        CREATE INDEX contacts_problem ON contacts (problem, problem_reason, key) WHERE {OPEN_PROBLEM};
        CREATE INDEX contacts_missing ON contacts (n) WHERE missing = 1;
        CREATE INDEX contacts_missing_due ON contacts (n) WHERE missing = 1 AND {DUE};
        CREATE INDEX contacts_confirmed ON contacts (n) WHERE {CONFIRMED};
        CREATE TABLE runs (
            id INTEGER PRIMARY KEY,
            kind TEXT NOT NULL,             -- sync, load
            pid INTEGER NOT NULL,
            in_flight INTEGER,              -- how many requests it may have open at once
            started REAL NOT NULL,
            ended REAL,
            outcome TEXT,
            reason TEXT,
            exit INTEGER,
            accepted INTEGER NOT NULL DEFAULT 0,   -- moves with each checkpoint
            progress TEXT,                  -- JSON: sent, remaining, rate, finish_at
            report TEXT                     -- JSON, the report of the ended run
        ) STRICT;
        CREATE TABLE intents (              -- durable before the first byte, until a definite answer
            n INTEGER PRIMARY KEY REFERENCES contacts (n) ON DELETE CASCADE,
            run INTEGER NOT NULL,
            content_hash BLOB NOT NULL,
            identity INTEGER,               -- IdentityClass of what is sent
            rank INTEGER NOT NULL DEFAULT 0,       -- order in which its run wrote it, and its workers take it
            at REAL NOT NULL,
            open INTEGER NOT NULL,          -- 1: may be acted upon now by its run
            unknown_hash BLOB,              -- what an attempt without a definite answer sent
            unknown_at REAL,
            unknown_identity INTEGER,       -- the weakest class of what such attempts sent
            crashes INTEGER NOT NULL DEFAULT 0,    -- kills during which this was the only open intent
            notes BLOB NOT NULL DEFAULT x''        -- digests of the notes that go with this send, end to end
        ) STRICT;
        CREATE TABLE attempts (             -- those that settled nothing: 429, not sent, unknown
            id INTEGER PRIMARY KEY,
            n INTEGER NOT NULL REFERENCES contacts (n) ON DELETE CASCADE,
            run INTEGER NOT NULL,
            at REAL NOT NULL,
            result TEXT NOT NULL,
            status INTEGER,
            detail TEXT
        ) STRICT;
        CREATE INDEX attempts_contact ON attempts (n);
        CREATE TABLE receipts (
            id INTEGER PRIMARY KEY,
            n INTEGER NOT NULL REFERENCES contacts (n) ON DELETE CASCADE,
            run INTEGER NOT NULL,
            at REAL NOT NULL,
            content_hash BLOB NOT NULL,
            result TEXT NOT NULL,           -- accepted, rejected, unknown, held
            status INTEGER,
            detail TEXT
        ) STRICT;
        CREATE INDEX receipts_contact ON receipts (n);
        CREATE TABLE notes_sent (           -- a note is sent once per contact and text
            n INTEGER NOT NULL REFERENCES contacts (n) ON DELETE CASCADE,
            note BLOB NOT NULL,
            PRIMARY KEY (n, note)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE tombstones (
            digest BLOB PRIMARY KEY,        -- of the key, keyed with the space's secret
            at REAL NOT NULL
        ) STRICT, WITHOUT ROWID;
    """.split(";\n"):
        if statement.strip():
            db.execute(statement)


STAGING = (
    """CREATE TABLE staged (                -- rows of a running load that are new or changed
        n INTEGER PRIMARY KEY,
        line INTEGER NOT NULL,
        key TEXT NOT NULL UNIQUE,
        contact INTEGER,                    -- the stored contact's n, NULL when new
        content_hash BLOB NOT NULL,
        identity INTEGER NOT NULL,
        mail TEXT NOT NULL,
        name TEXT NOT NULL,
        content BLOB NOT NULL
    ) STRICT""",
    """CREATE TABLE repeats (               -- further rows of a key already read, and refused rows
        key TEXT NOT NULL,
        line INTEGER NOT NULL,
        content_hash BLOB                   -- NULL: refused
    ) STRICT""",
    "CREATE INDEX repeats_key ON repeats (key)",
    """CREATE TABLE presence (              -- contacts whose presence in the source changes
        n INTEGER PRIMARY KEY,
        missing INTEGER NOT NULL            -- 1: the snapshot lacks it; 0: it came back
    ) STRICT""",
    """CREATE TABLE refusals (              -- rows this load refuses
        line INTEGER NOT NULL,
        key TEXT,
        column_name TEXT,
        reason TEXT NOT NULL
    ) STRICT""",
)
"""Where a load gathers before it takes effect; `plan` makes the same tables in a scratch file."""


@migrations()
def m002_loads(db: Database) -> None:
    """Add loads, their staging tables, and the rows they refused."""
    db.execute(
        """CREATE TABLE loads (
            id INTEGER PRIMARY KEY,
            path TEXT NOT NULL,
            started REAL NOT NULL,
            ended REAL,
            state TEXT NOT NULL,            -- staging, applying, done, refused, interrupted
            snapshot INTEGER NOT NULL,
            mapping TEXT NOT NULL,          -- digest of the rules
            counts TEXT                     -- JSON
        ) STRICT"""
    )
    db.execute(
        """CREATE TABLE refused (           -- rows the last load refused
            line INTEGER NOT NULL,
            key TEXT,
            column_name TEXT,
            reason TEXT NOT NULL,
            since REAL NOT NULL
        ) STRICT"""
    )
    for statement in STAGING:
        db.execute(statement)


_PROOF_COLUMNS = {
    "accepted_date": "REAL",  # of the last 2xx, by the server's clock
    "accepted_run": "INTEGER",  # the run that got it
    "applied_hash": "BLOB",  # of `applied`: all of ours that a read ever showed
    "awaiting": "INTEGER NOT NULL DEFAULT 0",  # accepted, and no read has settled it
    "look_again": "INTEGER NOT NULL DEFAULT 0",  # dropped: looked for once more by the next run
    "confirmed_at": "REAL",
    "problem_facts": "TEXT",  # JSON: keys, ids, fields, hint
}


@migrations()
def m003_proof(db: Database) -> None:
    """Add what a read shows: what was seen applied, who still awaits a read, forms, passed canaries."""
    for name, kind in _PROOF_COLUMNS.items():
        db.execute(f"ALTER TABLE contacts ADD COLUMN {name} {kind}")
    for statement in (
        "ALTER TABLE space ADD COLUMN seen_date REAL",  # the latest acceptance of whoever a read showed
        "UPDATE contacts SET awaiting = 1, accepted_date = accepted_at WHERE accepted_hash IS NOT NULL",
        "CREATE INDEX contacts_mail ON contacts (mail) WHERE mail <> ''",
        "CREATE INDEX contacts_name ON contacts (name) WHERE name <> ''",
        "CREATE UNIQUE INDEX contacts_remote ON contacts (remote_id) WHERE remote_id IS NOT NULL",
        f"CREATE INDEX contacts_awaiting ON contacts (accepted_date, n) WHERE {AWAITING}",
        "CREATE INDEX contacts_look_again ON contacts (n) WHERE look_again = 1",
        """CREATE TABLE forms (            -- of the space, as last read
            only INTEGER PRIMARY KEY CHECK (only = 1),
            at REAL NOT NULL,
            fingerprint BLOB NOT NULL,      -- changes with any form or option
            content BLOB NOT NULL           -- JSON
        ) STRICT""",
        """CREATE TABLE canaries (         -- kinds of sends whose first ones were settled well
            mapping TEXT NOT NULL,          -- digest of the rules they were made by
            kind TEXT NOT NULL,             -- whole, partial
            at REAL NOT NULL,
            PRIMARY KEY (mapping, kind)
        ) STRICT, WITHOUT ROWID""",
    ):
        db.execute(statement)


@migrations()
def m004_unseen(db: Database) -> None:
    """Add what was accepted and overwritten before a read, ids that are dead, and who is found by nothing."""
    for statement in (
        # Canonical JSON: accepted once, seen by no read, and not carried by what was accepted since.
        "ALTER TABLE contacts ADD COLUMN unseen BLOB",
        "ALTER TABLE contacts ADD COLUMN dead_id INTEGER NOT NULL DEFAULT 0",
        (
            "UPDATE contacts SET dead_id = 1, accepted_hash = NULL, accepted = NULL "
            "WHERE problem_hash = content_hash AND problem = 'dropped' "
            "AND problem_reason = 'its Qomon id does not exist any more'"
        ),
        f"CREATE INDEX contacts_dead ON contacts (n) WHERE {DEAD}",
        f"CREATE INDEX contacts_bare ON contacts (n) WHERE {BARE}",
    ):
        db.execute(statement)


MATCH_TABLES = (
    """CREATE TABLE matches (            -- contacts of the source and of the space that may be one
        n INTEGER NOT NULL,
        id INTEGER NOT NULL,            -- Qomon's
        fit INTEGER NOT NULL,           -- matching.Fit, the surest first
        content_hash BLOB NOT NULL,     -- of the contact as it was compared
        applied BLOB NOT NULL,          -- canonical JSON: what of its content is seen
        theirs TEXT,                    -- JSON: fields seen with other values; NULL: equal
        PRIMARY KEY (n, id)
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX matches_id ON matches (id)",
    """CREATE TABLE strangers (          -- contacts of the space that are nobody's in the source
        id INTEGER PRIMARY KEY,
        mail INTEGER NOT NULL,          -- keyed digests, 0 without
        name INTEGER NOT NULL
    ) STRICT""",
)
"""Whoever compares a whole space keeps them; a live plan makes the same tables in a scratch file."""


@migrations()
def m005_adoption(db: Database) -> None:
    """Add what reading a whole space shows: who is whom, who is nobody's, and what others have put there."""
    for statement in (
        "ALTER TABLE space ADD COLUMN adopted_at REAL",
        "ALTER TABLE contacts ADD COLUMN theirs TEXT",  # JSON: fields last seen with other values than ours
        """CREATE TABLE adoption (        -- one that is under way
            only INTEGER PRIMARY KEY CHECK (only = 1),
            since REAL NOT NULL,
            read_up_to REAL                 -- everybody last updated before was noted, by the server's clock
        ) STRICT""",
        *MATCH_TABLES,
        "CREATE INDEX strangers_mail ON strangers (mail)",
        "CREATE INDEX strangers_name ON strangers (name)",
        """CREATE TABLE ambiguous (       -- who may be whom, as the last adoption found: neither is sent
            n INTEGER NOT NULL REFERENCES contacts (n) ON DELETE CASCADE,
            id INTEGER NOT NULL,            -- Qomon's
            PRIMARY KEY (n, id)
        ) STRICT, WITHOUT ROWID""",
        "CREATE INDEX ambiguous_id ON ambiguous (id)",
    ):
        db.execute(statement)


@migrations()
def m006_probes(db: Database) -> None:
    """Add what was found out about the space with throw-away contacts."""
    db.execute(
        """CREATE TABLE probes (
            question TEXT PRIMARY KEY,
            answer TEXT NOT NULL,
            at REAL NOT NULL
        ) STRICT, WITHOUT ROWID"""
    )
