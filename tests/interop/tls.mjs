// TLS before the gateway, as an operator's proxy has it: a certificate for one run, and bytes passed on.

import { createHash, createSign, generateKeyPairSync, randomBytes } from "node:crypto";
import { connect } from "node:net";
import { createServer } from "node:tls";

/** Listens with TLS on loopback and passes on to `target`, an http URL. */
export async function front(target) {
    const { hostname, port } = new URL(target);
    const { key, cert } = certificate();
    const server = createServer({ key, cert, minVersion: "TLSv1.3" }, (near) => {
        const far = connect({ host: hostname, port: Number(port) });
        for (const [one, other] of [[near, far], [far, near]]) {
            one.pipe(other);
            one.on("error", () => other.destroy());
            one.on("close", () => other.destroy());
        }
    });
    await new Promise((resolve, reject) => server.listen(0, "127.0.0.1", resolve).on("error", reject));
    return { url: `https://127.0.0.1:${server.address().port}`, ca: cert };
}

/** A self-signed certificate for 127.0.0.1 (RFC 5280), which Node can use and cannot make. */
function certificate() {
    const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const algorithm = der(0x30, oid(1, 2, 840, 10045, 4, 3, 2));
    const name = der(0x30, der(0x31, der(0x30, oid(2, 5, 4, 3), der(0x0c, Buffer.from("127.0.0.1")))));
    const time = (days) => {
        const digits = new Date(Date.now() + days * 86_400_000).toISOString().replace(/[-:T]/g, "").slice(2, 14);
        return der(0x17, Buffer.from(`${digits}Z`));
    };
    const extension = (id, value) => der(0x30, oid(2, 5, 29, id), der(0x04, value));
    const spki = publicKey.export({ format: "der", type: "spki" });
    const serial = Buffer.concat([Buffer.from([1]), randomBytes(8)]);
    const body = der(
        0x30,
        der(0xa0, der(0x02, Buffer.from([2]))),
        der(0x02, serial),
        algorithm,
        name,
        der(0x30, time(-1), time(1)),
        name,
        spki,
        der(
            0xa3,
            der(
                0x30,
                extension(19, der(0x30, der(0x01, Buffer.from([0xff])))),
                extension(14, der(0x04, createHash("sha1").update(spki).digest())),
                extension(17, der(0x30, der(0x87, Buffer.from([127, 0, 0, 1])))),
            ),
        ),
    );
    const signature = createSign("sha256").update(body).sign(privateKey);
    const bytes = der(0x30, body, algorithm, der(0x03, Buffer.from([0]), signature));
    const lines = bytes.toString("base64").match(/.{1,64}/g).join("\n");
    return {
        key: privateKey.export({ format: "pem", type: "pkcs8" }),
        cert: `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`,
    };
}

function der(tag, ...parts) {
    const body = Buffer.concat(parts);
    const length = body.length < 128 ? [body.length] : body.length < 256 ? [0x81, body.length] : [0x82, body.length >> 8, body.length & 255];
    return Buffer.concat([Buffer.from([tag, ...length]), body]);
}

function oid(first, second, ...rest) {
    const groups = rest.flatMap((value) => {
        const bytes = [value & 127];
        for (value >>= 7; value > 0; value >>= 7) bytes.unshift((value & 127) | 128);
        return bytes;
    });
    return der(0x06, Buffer.from([first * 40 + second, ...groups]));
}
