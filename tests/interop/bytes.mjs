// docs/spec/encoding.md: one value has one encoding. And what is made of bytes: hashes, names, ids.

import { randomBytes } from "node:crypto";

import { blake3 } from "@noble/hashes/blake3";

const BASE32 = "abcdefghijklmnopqrstuvwxyz234567";

export function number(value) {
    if (!Number.isSafeInteger(value) || value < 0) throw new Error(`not a number: ${value}`);
    const bytes = [];
    for (; value >= 128; value = Math.floor(value / 128)) bytes.push((value % 128) + 128);
    return Buffer.from([...bytes, value]);
}

export const blob = (bytes) => Buffer.concat([number(bytes.length), bytes]);
export const text = (value) => blob(Buffer.from(value, "utf8"));
export const option = (bytes) => (bytes === null ? Buffer.from([0]) : Buffer.concat([Buffer.from([1]), bytes]));
export const list = (items) => Buffer.concat([number(items.length), ...items]);
export const concat = (...parts) => Buffer.concat(parts);
export const byte = (value) => Buffer.from([value]);
export const hex = (bytes) => Buffer.from(bytes).toString("hex");
export const unhex = (digits) => Buffer.from(digits, "hex");
export const base64 = (bytes) => Buffer.from(bytes).toString("base64");
export const unbase64 = (letters) => Buffer.from(letters, "base64");
export const hash = (bytes) => Buffer.from(blake3(bytes));

const KEYS = new Map();

/** Keyed BLAKE3 under a context: the key is derive_key(context, ""). */
export function keyed(context, ...parts) {
    if (!KEYS.has(context)) KEYS.set(context, blake3(new Uint8Array(0), { context }));
    return Buffer.from(blake3(concat(...parts), { key: KEYS.get(context) }));
}

/** The 32 bytes of a DID: base32 without padding, the last four of its 260 bits zero (docs/spec/identity.md, section 1). */
export function did(name) {
    const letters = /^did:zynk:([a-z2-7]{52})$/.exec(name)?.[1];
    if (!letters) throw new Error("not a DID");
    const bits = [...letters].map((letter) => BASE32.indexOf(letter).toString(2).padStart(5, "0")).join("");
    if (!bits.endsWith("0000")) throw new Error("not a DID");
    return Buffer.from(bits.slice(0, 256).match(/.{8}/g).map((eight) => parseInt(eight, 2)));
}

export const uuidBytes = (id) => unhex(id.replaceAll("-", ""));
export const uuid = (bytes) => hex(bytes).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");

/** A UUID of version 7 (RFC 9562): the time, then entropy. */
export function uuid7(now) {
    const bytes = randomBytes(16);
    bytes.writeUIntBE(now, 0, 6);
    bytes[6] = (bytes[6] & 0x0f) | 0x70;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    return uuid(bytes);
}

/** Reads what the functions above write, and refuses everything else. */
export class Reader {
    constructor(bytes) {
        this.bytes = bytes;
        this.at = 0;
    }

    take(count) {
        if (this.at + count > this.bytes.length) throw new Error("the bytes end inside a value");
        this.at += count;
        return this.bytes.subarray(this.at - count, this.at);
    }

    byte() {
        return this.take(1)[0];
    }

    number() {
        let value = 0;
        for (let place = 1; ; place *= 128) {
            const next = this.byte();
            if (next === 0 && place > 1) throw new Error("a number that is not in its shortest form");
            value += (next & 127) * place;
            if (!Number.isSafeInteger(value)) throw new Error("a number that is too large");
            if (next < 128) return value;
        }
    }

    count(most) {
        const count = this.number();
        if (count > most) throw new Error(`${count} is above the bound ${most}`);
        return count;
    }

    option(read) {
        const tag = this.byte();
        if (tag > 1) throw new Error("not an option");
        return tag === 1 ? read() : null;
    }

    text(most) {
        return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(this.take(this.count(most)));
    }

    end() {
        if (this.at !== this.bytes.length) throw new Error("bytes are left over");
    }
}
