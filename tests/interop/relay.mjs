// docs/spec/relay.md: the relay behind its gateway, over HTTPS and WSS.

import { createPrivateKey, createPublicKey, sign } from "node:crypto";
import { request } from "node:https";

import WebSocket from "ws";

import { base64, concat, did, hex, number, text, unhex } from "./bytes.mjs";

const PROTOCOL = "zynk.v1+json";

/** The Ed25519 key of a seed: PKCS #8 is this prefix and the seed (RFC 8410). */
function key(seed) {
    return createPrivateKey({ key: concat(unhex("302e020100300506032b657004220420"), unhex(seed)), format: "der", type: "pkcs8" });
}

/** A device of an identity at the relay. `at`: address and certificate; `device`: its side of Signal's layer. */
export class Relay {
    constructor(at, { chain, did, device, seed }) {
        this.at = at;
        this.chain = chain;
        this.own = { did, device };
        this.key = key(seed);
        this.token = null;
    }

    /** Asks; anything but a success is an error. */
    async ask(method, path, body) {
        const [status, answer] = await new Promise((resolve, reject) => {
            const headers = { ...(body && { "content-type": "application/json" }), ...(this.token && { authorization: `Bearer ${this.token}` }) };
            const asked = request(new URL(path, this.at.url), { method, headers, ca: this.at.ca, agent: false }, (response) => {
                const chunks = [];
                response.on("data", (chunk) => chunks.push(chunk));
                response.on("end", () => resolve([response.statusCode, Buffer.concat(chunks).toString()]));
                response.on("error", reject);
            });
            asked.on("error", reject);
            asked.end(body && JSON.stringify(body));
        });
        if (status < 200 || status > 299) throw new Error(`${method} ${path.split("/").slice(0, 5).join("/")}: ${status} ${answer}`);
        return answer && JSON.parse(answer);
    }

    /** Registers the identity by the operation that creates it, which somebody else has made. */
    async register(body) {
        const answer = await this.ask("POST", "/api/v1/auth/register", body);
        if (answer.did !== this.own.did) throw new Error("another identity was registered");
    }

    /** Signs in; whoever asks afterwards has the token. */
    async signIn() {
        const relay = await this.ask("GET", "/api/v1/relay");
        if (relay.chain !== this.chain) throw new Error("a relay of another chain");
        const { nonce } = await this.ask("POST", "/api/v1/auth/challenge", this.own);
        const message = concat(
            text("zynk.2026 relay sign-in v1"),
            text(relay.chain),
            text(relay.audience),
            did(this.own.did),
            number(this.own.device),
            unhex(nonce),
        );
        const signature = hex(sign(null, message, this.key));
        this.token = (await this.ask("POST", "/api/v1/auth/session", { ...this.own, nonce, signature })).access_token;
    }

    /** Publishes prekeys of this device's side of Signal's layer. */
    async publish(signal) {
        const made = signal.prekeys();
        const published = ({ id, key, signature }) => ({ id, key: base64(key), ...(signature && { signature: base64(signature) }) });
        const deviceKey = hex(createPublicKey(this.key).export({ format: "der", type: "spki" }).subarray(-32));
        const stock = await this.ask("PUT", "/api/v1/prekeys", {
            registration_id: signal.registrationId,
            identity_key: hex(signal.identityKey()),
            possession: base64(signal.sign(possession(this.chain, { ...this.own, key: deviceKey, signal_key: hex(signal.identityKey()) }))),
            signed_prekey: published(made.signed),
            last_resort_kyber: published(made.lastResort),
            one_time: made.oneTime.map(published),
            one_time_kyber: made.oneTimeKyber.map(published),
        });
        if (stock.one_time < made.oneTime.length || stock.one_time_kyber < made.oneTimeKyber.length) throw new Error("prekeys are missing");
    }

    /** A bundle for `peer`'s device, compared with what the chain has proven of it. */
    async bundle(signal, peer) {
        const { did: found, devices } = await this.ask("GET", `/api/v1/prekeys/${peer.did}`);
        if (found !== peer.did || devices.length !== 1) throw new Error("the devices of somebody else");
        const [bundle] = devices;
        if (bundle.device !== peer.device || bundle.identity_key !== peer.signal_key) throw new Error("another device or key than the chain's");
        if (!signal.verify(unhex(peer.signal_key), possession(this.chain, peer), Buffer.from(bundle.possession, "base64"))) {
            throw new Error("the holder of the Signal key has not signed for it");
        }
        return bundle;
    }

    /** The session: `handle` is called with each frame's type and payload, `ended` when it is over. */
    connect(handle, ended) {
        const socket = new WebSocket(new URL("/api/v1/ws", this.at.url.replace(/^http/, "ws")), [PROTOCOL], { ca: this.at.ca });
        const send = (type, payload) => socket.send(JSON.stringify({ type, payload }));
        socket.on("open", () => {
            if (socket.protocol !== PROTOCOL) throw new Error(`the relay speaks ${socket.protocol}`);
            send("session.open", { token: this.token, acknowledged: 0 });
        });
        socket.on("message", (data, binary) => {
            if (binary) throw new Error("binary where text is spoken");
            const { type, payload } = JSON.parse(data);
            handle(type, payload);
        });
        socket.on("close", (code, reason) => ended(`closed with ${code} ${reason}`));
        socket.on("error", (error) => ended(error.message));
        return { send, close: () => socket.close(1000) };
    }
}

/** What a Signal key signs to show that its holder has it. */
function possession(chain, { did: name, device, key, signal_key }) {
    return concat(text("zynk.2026 signal possession v1"), text(chain), did(name), number(device), unhex(key), unhex(signal_key));
}
