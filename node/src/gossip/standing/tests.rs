//! Scores and bans.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn peer(seed: u8) -> PeerId {
    libp2p::identity::Keypair::ed25519_from_bytes([seed; 32]).expect("a key").public().to_peer_id()
}

fn stranger(seed: u8) -> Offender {
    Offender { peer: peer(seed), address: Some(IpAddr::from([8, 8, 8, 8])), named: false }
}

#[test]
fn a_slip_is_forgotten_and_a_stream_of_them_is_not() {
    let mut standing = Standing::default();
    assert!(standing.offend(stranger(1), Offence::Undecodable, SECOND).is_empty());
    assert!((standing.score(&peer(1), SECOND) + 34.0).abs() < 0.01);
    assert!((standing.score(&peer(1), SECOND * 101) + 14.0).abs() < 0.01, "a fifth of a point in a second");
    assert!(standing.score(&peer(1), SECOND * 1000).abs() < 0.01);
    for at in 1..=2 {
        assert!(standing.offend(stranger(1), Offence::Undecodable, SECOND * (1000 + at)).is_empty());
    }
    assert_eq!(standing.offend(stranger(1), Offence::Undecodable, SECOND * 1003), [Who::Peer(peer(1))], "the third within a moment");
    assert!(standing.is_banned(&peer(1), SECOND * 1004) && !standing.is_banned(&peer(2), SECOND * 1004));
    assert!(!standing.is_banned(&peer(1), SECOND * 1603), "ten minutes");
}

#[test]
fn each_ban_is_longer_than_the_one_before() {
    let mut standing = Standing::default();
    let mut now = SECOND;
    let mut lengths = Vec::new();
    for _ in 0..12 {
        standing.offend(Offender { address: None, ..stranger(1) }, Offence::WrongChain, now);
        let left = standing.banned(now)[0].left;
        lengths.push(left.as_secs() / 60);
        now += left;
        assert!(!standing.is_banned(&peer(1), now));
    }
    assert_eq!((&lengths[..4], lengths[11]), (&[10, 20, 40, 80][..], 24 * 60));
    standing.offend(Offender { address: None, ..stranger(1) }, Offence::WrongChain, now + REMEMBERED);
    assert_eq!(standing.banned(now + REMEMBERED)[0].left, FIRST_BAN, "two days later all is forgotten");
}

#[test]
fn three_banned_peers_ban_their_address_and_never_that_of_the_operators_own() {
    let home = IpAddr::from([8, 8, 8, 8]);
    let mut standing = Standing::default();
    for seed in 1..=2 {
        assert_eq!(standing.offend(stranger(seed), Offence::WrongChain, SECOND).len(), 1);
        assert!(!standing.is_address_banned(home, SECOND));
    }
    assert_eq!(standing.offend(stranger(3), Offence::WrongChain, SECOND), [Who::Peer(peer(3)), Who::Address(home)]);
    assert!(standing.is_address_banned(home, SECOND) && !standing.is_address_banned(IpAddr::from([8, 8, 8, 9]), SECOND));
    assert!(!standing.is_address_banned(home, SECOND + FIRST_BAN));

    let mut standing = Standing::default();
    for seed in 1..=9 {
        let named = Offender { peer: peer(seed), address: Some(home), named: true };
        assert_eq!(standing.offend(named, Offence::WrongChain, SECOND), [Who::Peer(peer(seed))]);
    }
    assert!(!standing.is_address_banned(home, SECOND));
    assert!(standing.banned(SECOND).iter().all(|ban| ban.left == NAMED_BAN), "a minute, however often");
    // All of a /64 are one address.
    let mut standing = Standing::default();
    for seed in 1..=3u8 {
        let address = Some(IpAddr::from([0x2600, 1, 2, 3, 0, 0, 0, u16::from(seed)]));
        standing.offend(Offender { address, ..stranger(seed) }, Offence::WrongChain, SECOND);
    }
    assert!(standing.is_address_banned("2600:1:2:3:ffff::".parse().expect("an address"), SECOND));
}

#[test]
fn a_crowd_of_offenders_fills_no_memory() {
    let mut standing = Standing::default();
    for number in 0..12_288u32 {
        let mut seed = [9; 32];
        seed[..4].copy_from_slice(&number.to_be_bytes());
        let peer = PeerId::from_bytes(&[&[0x00, 0x24, 0x08, 0x01, 0x12, 0x20][..], &seed].concat()).expect("a peer id");
        let offence = if number % 2 == 0 { Offence::Hasty } else { Offence::WrongChain };
        let [_, a, b, c, ..] = seed;
        let address = Some(IpAddr::from([8, a, b, c]));
        standing.offend(Offender { peer, address, named: false }, offence, SECOND + Duration::from_millis(number.into()));
    }
    assert!(standing.scores.len() <= KEPT && standing.bans.len() <= KEPT && standing.earlier.len() <= KEPT);
    assert!(!standing.banned(SECOND).is_empty());
}
