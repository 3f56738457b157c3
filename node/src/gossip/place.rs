//! Addresses of nodes: which are taken from strangers, and which belong together.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

/// Where a node is reached, without names: an address that somebody else said must make nobody ask a
/// name server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) ip: IpAddr,
    pub(super) port: u16,
    pub(super) transport: Transport,
}

/// What carries the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Transport {
    Tcp,
    Quic,
}

/// Addresses that one owner has, as a rule: of IPv4 a /16, of IPv6 a /32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Group {
    V4([u8; 2]),
    V6([u8; 4]),
}

impl Place {
    /// Reads `/ip4|ip6/IP/tcp/PORT` or `/ip4|ip6/IP/udp/PORT/quic-v1`, with or without a peer id behind it.
    pub(super) fn of(address: &Multiaddr) -> Option<Self> {
        let mut parts = address.iter();
        let ip = match parts.next()? {
            Protocol::Ip4(ip) => IpAddr::V4(ip),
            Protocol::Ip6(ip) => IpAddr::V6(ip).to_canonical(),
            _ => return None,
        };
        let (port, transport) = match parts.next()? {
            Protocol::Tcp(port) => (port, Transport::Tcp),
            Protocol::Udp(port) if parts.next()? == Protocol::QuicV1 => (port, Transport::Quic),
            _ => return None,
        };
        let ends = match parts.next() {
            None => true,
            Some(Protocol::P2p(_)) => parts.next().is_none(),
            Some(_) => false,
        };
        (ends && port != 0).then_some(Self { ip, port, transport })
    }

    /// The address, without a peer id.
    pub(super) fn address(&self) -> Multiaddr {
        let address = Multiaddr::from(self.ip);
        match self.transport {
            Transport::Tcp => address.with(Protocol::Tcp(self.port)),
            Transport::Quic => address.with(Protocol::Udp(self.port)).with(Protocol::QuicV1),
        }
    }

    /// Whether a node may dial it on a stranger's word: it is on the internet, or, for a node that is itself
    /// in a network of its own, there.
    pub(super) fn may_be_dialled(&self, local: bool) -> bool {
        is_routable(self.ip) || (local && is_local(self.ip))
    }

    pub(super) fn group(&self) -> Group {
        group(self.ip)
    }
}

/// The IP address at the front of a multiaddress.
pub(super) fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(IpAddr::V4(ip)),
        Protocol::Ip6(ip) => Some(IpAddr::V6(ip).to_canonical()),
        _ => None,
    }
}

/// The address for which connections are counted: of IPv6 the /64, which is what one customer gets.
pub(super) fn household(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
        ip @ IpAddr::V4(_) => ip,
    }
}

pub(super) fn group(ip: IpAddr) -> Group {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            Group::V4([a, b])
        }
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.octets();
            Group::V6([a, b, c, d])
        }
    }
}

/// Whether it belongs to the machine or to a network that is nobody else's.
pub(super) fn is_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local() || is_shared(ip),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// RFC 6598: between a provider and its customers.
fn is_shared(ip: Ipv4Addr) -> bool {
    let [a, b, ..] = ip.octets();
    a == 100 && b & 0b1100_0000 == 64
}

/// Whether it can be an address on the internet. Source: IANA's registries of special addresses.
fn is_routable(ip: IpAddr) -> bool {
    if is_local(ip) || ip.is_unspecified() || ip.is_multicast() {
        return false;
    }
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            let reserved = a == 0 || a >= 240 || (a == 198 && b & 0xfe == 18) || [a, b, c] == [192, 0, 0];
            !reserved && !ip.is_documentation()
        }
        IpAddr::V6(ip) => {
            let [first, second, ..] = ip.segments();
            // 2000::/3 is what was given out; 2001:db8::/32 is for documents.
            first & 0xe000 == 0x2000 && (first, second) != (0x2001, 0x0db8)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_an_ip_a_port_and_a_transport() {
        let id = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
        let cases = [
            ("/ip4/8.8.8.8/tcp/1".to_owned(), Some("/ip4/8.8.8.8/tcp/1")),
            (format!("/ip4/8.8.8.8/tcp/1/p2p/{id}"), Some("/ip4/8.8.8.8/tcp/1")),
            ("/ip6/2600::1/udp/9/quic-v1".to_owned(), Some("/ip6/2600::1/udp/9/quic-v1")),
            ("/ip6/::ffff:8.8.8.8/tcp/1".to_owned(), Some("/ip4/8.8.8.8/tcp/1")),
            ("/ip4/8.8.8.8/tcp/0".to_owned(), None),
            ("/ip4/8.8.8.8".to_owned(), None),
            ("/ip4/8.8.8.8/udp/9".to_owned(), None),
            ("/ip4/8.8.8.8/udp/9/quic".to_owned(), None),
            ("/dns/node.example/tcp/1".to_owned(), None),
            ("/ip4/8.8.8.8/tcp/1/ws".to_owned(), None),
            (format!("/ip4/8.8.8.8/tcp/1/p2p/{id}/p2p-circuit"), None),
            (format!("/p2p/{id}"), None),
            (String::new(), None),
        ];
        for (text, expected) in cases {
            let place = Place::of(&text.parse().expect("a multiaddress"));
            assert_eq!(place.map(|place| place.address().to_string()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn strangers_are_believed_about_the_internet_alone() {
        let cases = [
            ("8.8.8.8", true, true),
            ("2600::1", true, true),
            ("127.0.0.1", false, true),
            ("10.1.2.3", false, true),
            ("192.168.0.9", false, true),
            ("100.64.0.1", false, true),
            ("169.254.169.254", false, true),
            ("fd00::1", false, true),
            ("::1", false, true),
            ("0.0.0.0", false, false),
            ("224.0.0.1", false, false),
            ("255.255.255.255", false, false),
            ("203.0.113.7", false, false),
            ("198.18.0.1", false, false),
            ("2001:db8::1", false, false),
            ("ff02::1", false, false),
        ];
        for (ip, abroad, at_home) in cases {
            let place = Place { ip: ip.parse().expect("an address"), port: 1, transport: Transport::Tcp };
            assert_eq!((place.may_be_dialled(false), place.may_be_dialled(true)), (abroad, at_home), "{ip}");
        }
    }

    #[test]
    fn who_shares_an_address_or_an_owner() {
        let ip = |text: &str| -> IpAddr { text.parse().expect("an address") };
        assert_eq!(household(ip("2600:1:2:3:4:5:6:7")), ip("2600:1:2:3::"));
        assert_eq!(household(ip("::ffff:8.8.8.8")), ip("8.8.8.8"));
        assert_ne!(household(ip("8.8.8.8")), household(ip("8.8.8.9")));
        assert_eq!(group(ip("8.8.1.1")), group(ip("8.8.2.2")));
        assert_ne!(group(ip("8.8.1.1")), group(ip("8.9.1.1")));
        assert_eq!(group(ip("2600:1::1")), group(ip("2600:1:ffff::1")));
        assert_ne!(group(ip("2600:1::1")), group(ip("2600:2::1")));
    }
}
