// A person's device on Signal's own npm package. tests/interop.rs runs it and talks to it in lines of JSON:
//
//     node client.mjs libsignal-0.103.0
//     > {"event":"keys","signal_key":…}
//     < {"gateway":…,"chain":…,"register":…,"did":…,"device":1,"seed":…,"peer":{"did":…,"device":1,"key":…,"signal_key":…}}
//     > {"event":"ready"}
//     < {"do":"send","text":…}      > {"event":"accepted","message_id":…,"leaf":…}
//     < {"do":"read"}               > {"event":"receipt","kind":"read","ids":[…]}
//     < {"do":"end"}                > {"event":"received","message_id":…,"form":"ratchet","text":…,"integrity":"holds","leaf":…}
//
// It follows docs/spec and shares no code with ours. What is not as those pages say ends it with status 1.

import { createInterface } from "node:readline";

import { base64, unbase64, uuid7 } from "./bytes.mjs";
import * as envelope from "./envelope.mjs";
import { Relay } from "./relay.mjs";
import { device } from "./signal.mjs";
import { front } from "./tls.mjs";

const signal = device(await import(process.argv[2]));
const say = (event) => process.stdout.write(`${JSON.stringify(event)}\n`);
const fail = (error) => {
    console.error(error);
    process.exit(1);
};

/** Does one thing after the other: a session has one next step. */
let last = Promise.resolve();
const inTurn = (act) => (last = last.then(act).catch(fail));

class Person {
    constructor(told, gateway) {
        this.peer = told.peer;
        this.own = { did: told.did, device: told.device };
        this.chain = told.chain;
        this.relay = new Relay(gateway, told);
        this.conversation = envelope.conversation(told.chain, told.did, told.peer.did);
        this.sequence = 0;
        this.previous = null;
        /** What was sent and is not yet accepted. */
        this.flight = new Map();
        /** What was received, once. */
        this.received = [];
        this.ended = false;
    }

    async begin(register) {
        signal.become(this.own);
        signal.trust(this.peer, Buffer.from(this.peer.signal_key, "hex"));
        await this.relay.register(register);
        await this.relay.signIn();
        await this.relay.publish(signal);
        this.session = this.relay.connect(
            (type, payload) => inTurn(() => this.handle(type, payload)),
            (why) => (this.ended ? process.exit(0) : fail(new Error(why))),
        );
    }

    async obey({ do: what, text }) {
        switch (what) {
            case "send":
                return this.send("message", text);
            case "read":
                return this.send("read", this.received.splice(0));
            case "end":
                this.ended = true;
                return this.session.close();
            default:
                throw new Error(`told to do ${what}`);
        }
    }

    /** Seals `content`, a text or message ids, for the peer's device, and sends it. */
    async send(kind, content) {
        if (!signal.hasSession(this.peer)) await signal.begin(this.peer, await this.relay.bundle(signal, this.peer));
        const sent = Date.now();
        const message_id = uuid7(sent);
        const { conversation, own: from, peer } = this;
        let opening = null;
        let content_hash = null;
        if (kind === "message") {
            this.sequence += 1;
            opening = envelope.opening({ conversation, sequence: this.sequence, sent, content, previous: this.previous });
            content_hash = this.previous = envelope.commitment(opening);
        }
        const sealed = envelope.seal({ from, to: peer, recipient: peer.did, conversation, message_id, sent, kind, opening, content });
        const { form, ciphertext, registration_id } = await signal.encrypt(peer, sealed);
        this.flight.set(message_id, { kind, content_hash, seen: envelope.seen([ciphertext]) });
        this.session.send(kind === "message" ? "message.send" : `message.${kind}`, {
            message_id,
            conversation_id: conversation,
            recipient_id: peer.did,
            contents: [{ device_id: peer.device, registration_id, form, encrypted_content: base64(ciphertext) }],
            own_contents: [],
            content_hash,
            timestamp: sent,
        });
    }

    async handle(type, payload) {
        switch (type) {
            case "session.opened":
                if (payload.address.did !== this.own.did || payload.address.device !== this.own.device) throw new Error("somebody else's session");
                return;
            case "queue.empty":
                return say({ event: "ready" });
            case "message.accepted":
                return payload.items.forEach((item) => this.accepted(item));
            case "message.received":
                return this.receive(payload.items);
            case "prekeys.low":
                return this.relay.publish(signal);
            default:
                throw new Error(`the relay says ${type} ${JSON.stringify(payload)}`);
        }
    }

    accepted({ message_id, envelope: saw }) {
        const { kind, content_hash, seen } = this.flight.get(message_id);
        this.flight.delete(message_id);
        if (kind !== "message") {
            if (saw !== null) throw new Error("a receipt became a leaf");
            return;
        }
        if (saw.ciphertext !== seen.ciphertext || saw.size_class !== seen.size_class) throw new Error("the relay saw another message");
        say({ event: "accepted", message_id, leaf: envelope.leaf(content_hash, envelope.sealed(saw)) });
    }

    async receive(items) {
        const messages = [];
        for (const item of items) {
            const from = { did: item.sender_id, device: item.sender_device_id };
            const plaintext = await signal.decrypt(from, item.form, unbase64(item.encrypted_content));
            const opened = envelope.open(plaintext);
            envelope.check(opened, item, this.own, this.chain);
            if (opened.kind !== "message") {
                say({ event: "receipt", kind: opened.kind, ids: opened.content });
                continue;
            }
            messages.push(item.message_id);
            say({
                event: "received",
                message_id: item.message_id,
                form: item.form,
                text: opened.content,
                integrity: envelope.integrity(opened, item.content_hash),
                leaf: envelope.leaf(item.content_hash, item.sealed_envelope),
            });
        }
        this.session.send("message.acknowledge", { upto: items.at(-1).sequence, also: [] });
        this.received.push(...messages);
        if (messages.length > 0) await this.send("delivered", messages);
    }
}

let person = null;
process.on("uncaughtException", fail);
const lines = createInterface({ input: process.stdin });
lines.on("line", (line) =>
    inTurn(async () => {
        const told = JSON.parse(line);
        if (person) return person.obey(told);
        person = new Person(told, await front(told.gateway));
        return person.begin(told.register);
    }),
);
lines.on("close", () => person?.ended || process.exit(1));
say({ event: "keys", signal_key: signal.identityKey().toString("hex") });
