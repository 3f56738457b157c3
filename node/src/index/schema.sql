-- The index of the chain. Numbers are BIGINT, all else is TEXT: hashes, addresses and keys as people write them, times
-- in RFC 3339. `place` is a transaction's in its block, from 0; -1 stands for the block itself.
CREATE TABLE progress (id BIGINT PRIMARY KEY, genesis TEXT NOT NULL, base BIGINT NOT NULL, height BIGINT NOT NULL);

CREATE TABLE blocks (
    height BIGINT PRIMARY KEY, hash TEXT NOT NULL, time TEXT NOT NULL, proposer TEXT NOT NULL, transactions BIGINT NOT NULL
);

CREATE TABLE transactions (
    height BIGINT NOT NULL, place BIGINT NOT NULL, hash TEXT NOT NULL, author TEXT NOT NULL, code BIGINT NOT NULL,
    bytes TEXT NOT NULL, result TEXT NOT NULL, PRIMARY KEY (height, place)
);
CREATE INDEX transactions_by_hash ON transactions (hash);

CREATE TABLE attributes (
    height BIGINT NOT NULL, place BIGINT NOT NULL, event BIGINT NOT NULL, item BIGINT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
    number TEXT, moment TEXT, PRIMARY KEY (height, place, event, item)
) WITHOUT ROWID;
CREATE INDEX attributes_by_value ON attributes (key, value, height, place);
CREATE INDEX attributes_by_number ON attributes (key, number, height, place) WHERE number IS NOT NULL;
CREATE INDEX attributes_by_moment ON attributes (key, moment, height, place) WHERE moment IS NOT NULL;

CREATE TABLE identities (
    did TEXT PRIMARY KEY, height BIGINT NOT NULL, place BIGINT NOT NULL, operations BIGINT NOT NULL, changed BIGINT NOT NULL
);
CREATE INDEX identities_by_height ON identities (height, place);

CREATE TABLE operations (
    height BIGINT NOT NULL, place BIGINT NOT NULL, did TEXT NOT NULL, sequence BIGINT NOT NULL, operation TEXT NOT NULL,
    PRIMARY KEY (height, place)
);
CREATE INDEX operations_by_did ON operations (did, height, place);

-- `retired`: at this height; 0 while the log stands.
CREATE TABLE logs (log TEXT PRIMARY KEY, owner TEXT NOT NULL, height BIGINT NOT NULL, place BIGINT NOT NULL, retired BIGINT NOT NULL);
CREATE INDEX logs_by_height ON logs (height, place);
CREATE INDEX logs_by_owner ON logs (owner, height, place);

CREATE TABLE anchors (
    log TEXT NOT NULL, sequence BIGINT NOT NULL, height BIGINT NOT NULL, place BIGINT NOT NULL, root TEXT NOT NULL, leaves BIGINT NOT NULL,
    opened BIGINT NOT NULL, closed BIGINT NOT NULL, PRIMARY KEY (log, sequence)
);
CREATE INDEX anchors_by_height ON anchors (height, place);
CREATE INDEX anchors_by_log ON anchors (log, height, place);

CREATE TABLE validators (
    address TEXT PRIMARY KEY, key TEXT NOT NULL, height BIGINT NOT NULL, power BIGINT NOT NULL, changed BIGINT NOT NULL
);
CREATE INDEX validators_by_height ON validators (height, address);

CREATE TABLE powers (height BIGINT NOT NULL, address TEXT NOT NULL, power BIGINT NOT NULL, PRIMARY KEY (height, address));
CREATE INDEX powers_by_validator ON powers (address, height);
