-- Accounts of a relay. Times are milliseconds since 1970. In PostgreSQL, BLOB is BYTEA.

CREATE TABLE accounts (
    did        BLOB   NOT NULL PRIMARY KEY,
    entry      BLOB   NOT NULL,
    height     BIGINT NOT NULL,
    registered BIGINT NOT NULL
);

CREATE TABLE followed (
    one    INTEGER NOT NULL PRIMARY KEY,
    height BIGINT  NOT NULL
);

CREATE TABLE invitations (
    code    BLOB   NOT NULL PRIMARY KEY,
    made    BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    used_by BLOB
);

CREATE TABLE quotas (
    subject BLOB   NOT NULL PRIMARY KEY,
    ends    BIGINT NOT NULL,
    used    BIGINT NOT NULL
);
CREATE INDEX quotas_by_end ON quotas (ends);

CREATE TABLE nonces (
    nonce   BLOB   NOT NULL PRIMARY KEY,
    expires BIGINT NOT NULL
);
CREATE INDEX nonces_by_expiry ON nonces (expires);

CREATE TABLE sessions (
    session   BLOB   NOT NULL PRIMARY KEY,
    did       BLOB   NOT NULL,
    device    BIGINT NOT NULL,
    opened    BIGINT NOT NULL,
    refreshed BIGINT NOT NULL,
    expires   BIGINT NOT NULL,
    ended     BIGINT
);
CREATE INDEX sessions_by_device ON sessions (did, device);
CREATE INDEX sessions_by_end ON sessions (ended);
CREATE INDEX sessions_by_expiry ON sessions (expires);

CREATE TABLE refresh_tokens (
    token   BLOB   NOT NULL PRIMARY KEY,
    session BLOB   NOT NULL REFERENCES sessions (session) ON DELETE CASCADE,
    number  BIGINT NOT NULL,
    used    BIGINT
);
CREATE INDEX refresh_tokens_by_session ON refresh_tokens (session, number);

CREATE TABLE prekeys (
    did             BLOB   NOT NULL,
    device          BIGINT NOT NULL,
    registration    BIGINT NOT NULL,
    identity_key    BLOB   NOT NULL,
    possession      BLOB   NOT NULL,
    signed_id       BIGINT NOT NULL,
    signed_key      BLOB   NOT NULL,
    signed_by       BLOB   NOT NULL,
    last_resort_id  BIGINT NOT NULL,
    last_resort_key BLOB   NOT NULL,
    last_resort_by  BLOB   NOT NULL,
    published       BIGINT NOT NULL,
    succession      BLOB,
    PRIMARY KEY (did, device)
);

-- kind: 0 X25519, 1 Kyber. A key that was handed out stays as its number, without its bytes.
CREATE TABLE one_time_keys (
    did       BLOB   NOT NULL,
    device    BIGINT NOT NULL,
    kind      BIGINT NOT NULL,
    id        BIGINT NOT NULL,
    key       BLOB   NOT NULL,
    signature BLOB   NOT NULL,
    taken     BIGINT,
    PRIMARY KEY (did, device, kind, id),
    FOREIGN KEY (did, device) REFERENCES prekeys (did, device) ON DELETE CASCADE
);
CREATE INDEX one_time_keys_left ON one_time_keys (did, device, kind, taken, id);
CREATE INDEX one_time_keys_taken ON one_time_keys (taken);
