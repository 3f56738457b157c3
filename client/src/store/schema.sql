-- Version 1. Times are milliseconds since 1970; identifiers, keys and hashes are their bytes.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;

-- libsignal's session with a device, as it stands after the last committed step.
CREATE TABLE sessions (
    did    BLOB NOT NULL,
    device INTEGER NOT NULL,
    record BLOB NOT NULL,
    PRIMARY KEY (did, device)
) WITHOUT ROWID;

-- The secret halves of published prekeys.
CREATE TABLE one_time_prekeys (
    id     INTEGER PRIMARY KEY,
    record BLOB NOT NULL
);
CREATE TABLE signed_prekeys (
    id       INTEGER PRIMARY KEY,
    record   BLOB NOT NULL,
    made     INTEGER NOT NULL,
    replaced INTEGER
);
CREATE TABLE kyber_prekeys (
    id          INTEGER PRIMARY KEY,
    record      BLOB NOT NULL,
    last_resort INTEGER NOT NULL,
    replaced    INTEGER
);
-- With a last-resort prekey a sender's base key counts once.
CREATE TABLE base_keys (
    kyber    INTEGER NOT NULL,
    signed   INTEGER NOT NULL,
    base_key BLOB NOT NULL,
    PRIMARY KEY (kyber, signed, base_key)
) WITHOUT ROWID;

-- Identities, the own one among them: the entry that was last proven.
CREATE TABLE contacts (
    did      BLOB PRIMARY KEY,
    entry    BLOB NOT NULL,
    height   INTEGER NOT NULL,
    proven   INTEGER NOT NULL,
    bundles  INTEGER NOT NULL DEFAULT 0,
    compared INTEGER
) WITHOUT ROWID;
CREATE TABLE notes (
    id     INTEGER PRIMARY KEY,
    did    BLOB NOT NULL,
    seen   INTEGER NOT NULL,
    change TEXT NOT NULL
);

CREATE TABLE messages (
    id          INTEGER PRIMARY KEY,
    peer        BLOB NOT NULL,
    message_id  BLOB NOT NULL,
    sender      BLOB NOT NULL,
    device      INTEGER NOT NULL,
    outgoing    INTEGER NOT NULL,
    text        TEXT NOT NULL,
    sent        INTEGER NOT NULL,
    stored      INTEGER NOT NULL,
    state       TEXT NOT NULL,
    code        INTEGER,
    reason      TEXT,
    integrity   TEXT,
    opening     BLOB,
    commitment  BLOB,
    envelope    BLOB,
    bundle      BLOB,
    read        INTEGER NOT NULL DEFAULT 0,
    UNIQUE (sender, device, message_id)
);
CREATE INDEX messages_of_peer ON messages (peer, id);
CREATE INDEX messages_by_id ON messages (message_id);

-- What other devices say about messages of this identity.
CREATE TABLE receipts (
    message_id BLOB NOT NULL,
    did        BLOB NOT NULL,
    device     INTEGER NOT NULL,
    kind       INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    PRIMARY KEY (message_id, did, device, kind)
) WITHOUT ROWID;
-- What this device has still to say about messages of others.
CREATE TABLE owed (
    did        BLOB NOT NULL,
    kind       INTEGER NOT NULL,
    message_id BLOB NOT NULL,
    PRIMARY KEY (did, kind, message_id)
) WITHOUT ROWID;

-- What is to be sent. The frame is there once it is encrypted; it leaves only after that is committed.
CREATE TABLE outbox (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    message_id BLOB NOT NULL UNIQUE,
    recipient  BLOB NOT NULL,
    content    BLOB NOT NULL,
    sent       INTEGER NOT NULL,
    frame      BLOB,
    attempts   INTEGER NOT NULL DEFAULT 0,
    wait_until INTEGER NOT NULL DEFAULT 0
);
-- What was received already.
CREATE TABLE received (
    sender     BLOB NOT NULL,
    device     INTEGER NOT NULL,
    message_id BLOB NOT NULL,
    at         INTEGER NOT NULL,
    PRIMARY KEY (sender, device, message_id)
) WITHOUT ROWID;
