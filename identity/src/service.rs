//! Where an identity can be reached.

use serde::{Deserialize, Serialize};
use types::{Decode, DecodeError, Encode, Reader, Text};

/// What a service is. One byte; other values are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ServiceKind {
    /// 1: the relay that keeps this identity's mailbox. Its type in the document is `ZynkRelay`.
    Relay,
    /// 2: a web origin that the subject says is theirs, as an organisation's site is; it must
    /// link back. Its type in the document is `LinkedDomains` (DIF Well Known DID Configuration).
    Domain,
}

impl Encode for ServiceKind {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(match self {
            Self::Relay => 1,
            Self::Domain => 2,
        });
    }
}

impl Decode for ServiceKind {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::decode(reader)? {
            1 => Ok(Self::Relay),
            2 => Ok(Self::Domain),
            found => Err(DecodeError::Tag { what: "service kind", found }),
        }
    }
}

/// A service. Bytes: the kind (1), the endpoint (a count, then at most 128 bytes).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// What it is.
    pub kind: ServiceKind,
    /// Where it is: an `https` or `http` URL in the one spelling that [`Service::is_well_spelled`] wants.
    pub endpoint: Text<128>,
}
types::codec!(Service { kind, endpoint });

impl Service {
    /// Whether the endpoint is `scheme://host[:port][/path]` and no more.
    ///
    /// The scheme is `https` or `http` (which clients take for loopback and private networks
    /// only). The host is lower case letters, digits, `-` and `.`, or an IPv6 address in
    /// brackets. The path is segments of `A-Z a-z 0-9 - _ ~ .`, none of them empty, `.` or `..`.
    /// No user, query, fragment or percent-encoding: they are how one URL is made to look like
    /// another.
    #[must_use]
    pub fn is_well_spelled(&self) -> bool {
        let rest = ["https://", "http://"].iter().find_map(|scheme| self.endpoint.strip_prefix(scheme));
        rest.is_some_and(|rest| {
            let (authority, path) = rest.split_once('/').map_or((rest, None), |(authority, path)| (authority, Some(path)));
            is_authority(authority) && path.is_none_or(|path| path.split('/').all(is_segment))
        })
    }
}

fn is_authority(text: &str) -> bool {
    // An IPv6 address holds colons itself, so its port is looked for behind the bracket.
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((inner, "")) => (Host::Six(inner), None),
            Some((inner, after)) => (Host::Six(inner), Some(after.strip_prefix(':').unwrap_or_default())),
            None => return false,
        },
        None => text.split_once(':').map_or((Host::Name(text), None), |(name, port)| (Host::Name(name), Some(port))),
    };
    host.is_spelled() && port.is_none_or(is_port)
}

enum Host<'a> {
    Name(&'a str),
    Six(&'a str),
}

impl Host<'_> {
    fn is_spelled(&self) -> bool {
        match self {
            Self::Name(name) => name.split('.').all(|label| {
                let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
                !label.is_empty() && label.bytes().all(known) && !label.starts_with('-') && !label.ends_with('-')
            }),
            // The standard library writes the form of RFC 5952, so this leaves one spelling.
            Self::Six(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok_and(|address| address.to_string() == *inner),
        }
    }
}

fn is_port(text: &str) -> bool {
    let number = text.parse::<u16>().unwrap_or(0);
    number != 0 && number.to_string() == text
}

fn is_segment(text: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_~.".contains(&byte);
    !text.is_empty() && text != "." && text != ".." && text.bytes().all(known)
}

#[cfg(test)]
mod tests;
