// docs/spec/envelope.md and docs/spec/audit.md: what stands inside Signal's ciphertext, and what is committed to.

import { randomBytes } from "node:crypto";

import { Reader, byte, concat, did, hash, hex, keyed, list, number, option, text, unhex, uuid, uuidBytes } from "./bytes.mjs";

const SIZES = [256, 1024, 4096, 16384, 65536];
const MAX_TEXT = 64512;
const MAX_RECEIPTS = 64;
const KINDS = { message: 1, delivered: 2, read: 3 };

/** What two identities call their conversation. */
export function conversation(chain, one, other) {
    const [first, second] = [did(one), did(other)].sort(Buffer.compare);
    return hex(keyed("zynk.2026 conversation v1", text(chain), first, second));
}

/** The opening of a new message: salt, and the body that is committed to. */
export function opening({ conversation, sequence, sent, content, previous }) {
    const salt = randomBytes(32);
    return { salt, body: { conversation, device: null, sequence, sent, content: hex(hash(Buffer.from(content, "utf8"))), previous } };
}

function bodyBytes(body) {
    const bytes = (digits) => (digits === null ? null : unhex(digits));
    return concat(
        byte(2),
        unhex(body.conversation),
        option(bytes(body.device)),
        number(body.sequence),
        number(body.sent),
        unhex(body.content),
        option(bytes(body.previous)),
    );
}

/** The commitment: the submission's content_hash. */
export function commitment({ salt, body }) {
    return hex(keyed("zynk.2026 audit commitment v1", salt, keyed("zynk.2026 audit body v1", bodyBytes(body))));
}

/** The leaf of a message, out of both halves. */
export const leaf = (commitment, sealed) => hex(keyed("zynk.2026 audit leaf v1", unhex(commitment), unhex(sealed)));

/** The relay's half, sealed, out of what message.accepted opens. */
export function sealed({ ciphertext, received, size_class, salt }) {
    const bytes = concat(unhex(ciphertext), number(received), byte(size_class));
    return hex(keyed("zynk.2026 audit envelope v1", unhex(salt), hash(bytes)));
}

/** What the relay must say that it saw of these ciphertexts. */
export function seen(ciphertexts) {
    const size = ciphertexts.reduce((sum, bytes) => sum + bytes.length, 0);
    return { ciphertext: hex(hash(concat(...ciphertexts.map(hash)))), size_class: size < 2 ? 0 : Math.ceil(Math.log2(size)) };
}

/** The padded bytes of an envelope: what is given to Signal's layer. */
export function seal({ from, to, recipient, conversation, message_id, sent, kind, opening, content }) {
    const address = ({ did: name, device }) => concat(did(name), number(device));
    const said =
        kind === "message"
            ? concat(opening.salt, bodyBytes(opening.body), text(content))
            : list(content.map((id) => uuidBytes(id)));
    const bytes = concat(
        byte(1),
        address(from),
        address(to),
        did(recipient),
        unhex(conversation),
        uuidBytes(message_id),
        number(sent),
        byte(KINDS[kind]),
        said,
        byte(0x80),
    );
    const size = SIZES.find((size) => size >= bytes.length);
    return concat(bytes, Buffer.alloc(size - bytes.length));
}

/** Reads padded bytes. DIDs stay bytes: who reads knows whom to expect. */
export function open(padded) {
    let end = padded.length - 1;
    while (end >= 0 && padded[end] === 0) end -= 1;
    if (padded[end] !== 0x80 || SIZES.find((size) => size > end) !== padded.length) throw new Error("not padded as it must be");
    const reader = new Reader(Buffer.from(padded.subarray(0, end)));
    if (reader.byte() !== 1) throw new Error("another version of the inner envelope");
    const address = () => ({ did: hex(reader.take(32)), device: reader.number() });
    const envelope = {
        from: address(),
        to: address(),
        recipient: hex(reader.take(32)),
        conversation: hex(reader.take(32)),
        message_id: uuid(reader.take(16)),
        sent: reader.number(),
    };
    const tag = reader.byte();
    envelope.kind = Object.keys(KINDS).find((kind) => KINDS[kind] === tag);
    if (envelope.kind === "message") {
        envelope.opening = readOpening(reader);
        envelope.content = reader.text(MAX_TEXT);
    } else if (envelope.kind) {
        envelope.content = Array.from({ length: reader.count(MAX_RECEIPTS) }, () => uuid(reader.take(16)));
    } else {
        throw new Error(`an unknown content ${tag}`);
    }
    reader.end();
    return envelope;
}

function readOpening(reader) {
    const salt = Buffer.from(reader.take(32));
    if (reader.byte() !== 2) throw new Error("not the body of a message");
    const digest = () => hex(reader.take(32));
    return {
        salt,
        body: {
            conversation: digest(),
            device: reader.option(digest),
            sequence: reader.number(),
            sent: reader.number(),
            content: digest(),
            previous: reader.option(digest),
        },
    };
}

/** Compares what the sender wrote with what the relay said; throws what differs (section 2). */
export function check(envelope, delivery, own, chain) {
    const names = { sender: hex(did(delivery.sender_id)), recipient: hex(did(delivery.recipient_id)), own: hex(did(own.did)) };
    const fits = {
        identity: envelope.from.did === names.sender,
        device: envelope.from.device === delivery.sender_device_id,
        "addressed device": envelope.to.did === names.own && envelope.to.device === own.device,
        recipient: envelope.recipient === names.recipient && [envelope.recipient, envelope.from.did].includes(names.own),
        conversation:
            envelope.conversation === delivery.conversation_id &&
            envelope.conversation === conversation(chain, delivery.sender_id, delivery.recipient_id),
        "message id": envelope.message_id === delivery.message_id,
        time: envelope.sent === delivery.timestamp,
        kind: envelope.kind === delivery.kind,
    };
    for (const [what, holds] of Object.entries(fits)) if (!holds) throw new Error(`the sender's ${what} is not what the relay says`);
}

/** Whether the commitment that the relay passed on is of this message (section 3). */
export function integrity(envelope, passedOn) {
    const { conversation, sent, content } = envelope.opening.body;
    const ofThis =
        conversation === envelope.conversation &&
        sent === envelope.sent &&
        content === hex(hash(Buffer.from(envelope.content, "utf8")));
    if (!ofThis) return "other_content";
    return commitment(envelope.opening) === passedOn ? "holds" : "other_commitment";
}
