// Signal's layer, by Signal's own package: one device, its keys, its sessions, all in memory.
//
// Newer versions of the package want the local address as well and put both addresses under their MAC where the names
// are Signal's own service ids. Ours are not: `<DID>/<device>` with Signal's device id 1, and they never leave the device.

import { unbase64 } from "./bytes.mjs";

const DEVICE = 1;
const ONE_TIME = 30;

/** A device's side. `signal` is the package. */
export function device(signal) {
    const name = ({ did, device }) => signal.ProtocolAddress.new(`${did}/${device}`, DEVICE);
    const identity = signal.PrivateKey.generate();
    const registrationId = 1 + Math.floor(Math.random() * 0x3fff);
    const records = { session: new Map(), one_time: new Map(), signed: new Map(), kyber: new Map() };
    const trusted = new Map();
    let own = null;
    let ids = 0;

    class Sessions extends signal.SessionStore {
        async saveSession(address, record) {
            records.session.set(address.toString(), record);
        }
        async getSession(address) {
            return records.session.get(address.toString()) ?? null;
        }
        async getExistingSessions(addresses) {
            return addresses.map((address) => records.session.get(address.toString()));
        }
    }

    class Identities extends signal.IdentityKeyStore {
        async getIdentityKey() {
            return identity;
        }
        async getLocalRegistrationId() {
            return registrationId;
        }
        // Who is trusted is known from the chain, never from a message.
        async saveIdentity() {
            return signal.IdentityChange?.NewOrUnchanged ?? 0;
        }
        async isTrustedIdentity(address, key) {
            return trusted.get(address.toString()) === Buffer.from(key.serialize()).toString("hex");
        }
        async getIdentity(address) {
            const key = trusted.get(address.toString());
            return key ? signal.PublicKey.deserialize(Buffer.from(key, "hex")) : null;
        }
    }

    class OneTime extends signal.PreKeyStore {
        async savePreKey(id, record) {
            records.one_time.set(id, record);
        }
        async getPreKey(id) {
            return needed(records.one_time, id);
        }
        async removePreKey(id) {
            records.one_time.delete(id);
        }
    }

    class Signed extends signal.SignedPreKeyStore {
        async saveSignedPreKey(id, record) {
            records.signed.set(id, record);
        }
        async getSignedPreKey(id) {
            return needed(records.signed, id);
        }
    }

    class Kyber extends signal.KyberPreKeyStore {
        async saveKyberPreKey(id, record) {
            records.kyber.set(id, record);
        }
        async getKyberPreKey(id) {
            return needed(records.kyber, id);
        }
        async markKyberPreKeyUsed() {}
    }

    const [sessions, identities] = [new Sessions(), new Identities()];
    const [oneTime, signed, kyber] = [new OneTime(), new Signed(), new Kyber()];

    /** Calls `call` with the local address in third place, if it wants one argument more than `without`. */
    const local = (call, without, ...given) =>
        call(...(call.length > without ? [given[0], given[1], name(own), ...given.slice(2)] : given));

    const signedKey = (id, pair, key) => ({ id, key: Buffer.from(key), signature: Buffer.from(identity.sign(key)), pair });

    function newSigned() {
        const pair = signal.PrivateKey.generate();
        const made = signedKey((ids += 1), pair, pair.getPublicKey().serialize());
        const record = signal.SignedPreKeyRecord.new(made.id, Date.now(), pair.getPublicKey(), pair, made.signature);
        records.signed.set(made.id, record);
        return made;
    }

    function newKyber() {
        const pair = signal.KEMKeyPair.generate();
        const made = signedKey((ids += 1), pair, pair.getPublicKey().serialize());
        records.kyber.set(made.id, signal.KyberPreKeyRecord.new(made.id, Date.now(), pair, made.signature));
        return made;
    }

    function newOneTime() {
        const pair = signal.PrivateKey.generate();
        const id = (ids += 1);
        records.one_time.set(id, signal.PreKeyRecord.new(id, pair.getPublicKey(), pair));
        return { id, key: Buffer.from(pair.getPublicKey().serialize()) };
    }

    return {
        registrationId,
        identityKey: () => Buffer.from(identity.getPublicKey().serialize()),
        sign: (message) => Buffer.from(identity.sign(message)),
        verify: (key, message, signature) => signal.PublicKey.deserialize(key).verify(message, signature),

        /** Who this is, once the chain has said. */
        become(address) {
            own = address;
        },

        /** From now on this key, and no other, is the device's. */
        trust(address, key) {
            trusted.set(name(address).toString(), key.toString("hex"));
        },

        /** New prekeys: those that are published. */
        prekeys() {
            const many = (make) => Array.from({ length: ONE_TIME }, make);
            return { signed: newSigned(), lastResort: newKyber(), oneTime: many(newOneTime), oneTimeKyber: many(newKyber) };
        },

        hasSession: (address) => records.session.has(name(address).toString()),

        /** Begins a session with a device by its bundle, which is the relay's JSON. */
        async begin(address, bundle) {
            const ec = (key) => signal.PublicKey.deserialize(unbase64(key));
            const made = signal.PreKeyBundle.new(
                bundle.registration_id,
                DEVICE,
                bundle.one_time?.id ?? null,
                bundle.one_time ? ec(bundle.one_time.key) : null,
                bundle.signed_prekey.id,
                ec(bundle.signed_prekey.key),
                unbase64(bundle.signed_prekey.signature),
                signal.PublicKey.deserialize(Buffer.from(bundle.identity_key, "hex")),
                bundle.kyber_prekey.id,
                signal.KEMPublicKey.deserialize(unbase64(bundle.kyber_prekey.key)),
                unbase64(bundle.kyber_prekey.signature),
            );
            await local(signal.processPreKeyBundle, 4, made, name(address), sessions, identities);
        },

        /** A ciphertext, its form, and the registration id that it is for. */
        async encrypt(address, plaintext) {
            const message = await local(signal.signalEncrypt, 4, plaintext, name(address), sessions, identities);
            const forms = { [signal.CiphertextMessageType.PreKey]: "prekey", [signal.CiphertextMessageType.Whisper]: "ratchet" };
            return {
                form: forms[message.type()],
                ciphertext: Buffer.from(message.serialize()),
                registration_id: records.session.get(name(address).toString()).remoteRegistrationId(),
            };
        },

        /** The plaintext of a delivery. */
        async decrypt(address, form, ciphertext) {
            if (form === "ratchet") {
                const message = signal.SignalMessage.deserialize(ciphertext);
                return local(signal.signalDecrypt, 4, message, name(address), sessions, identities);
            }
            const message = signal.PreKeySignalMessage.deserialize(ciphertext);
            return local(signal.signalDecryptPreKey, 7, message, name(address), sessions, identities, oneTime, signed, kyber);
        },
    };
}

function needed(records, id) {
    const record = records.get(id);
    if (!record) throw new Error(`no prekey ${id}`);
    return record;
}
