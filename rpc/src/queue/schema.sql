-- What is to reach the chain once. Times are seconds since 1970. In PostgreSQL, BLOB is BYTEA.

CREATE TABLE submissions (
    place   INTEGER NOT NULL PRIMARY KEY,
    name    BLOB    NOT NULL UNIQUE,
    body    BLOB    NOT NULL,
    lane    BIGINT,
    attempt BLOB,
    outcome BLOB,
    ended   BIGINT
);
CREATE INDEX submissions_waiting ON submissions (lane, place) WHERE outcome IS NULL;
CREATE INDEX submissions_by_end ON submissions (ended) WHERE outcome IS NOT NULL;
