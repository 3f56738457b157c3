//! Who comes in.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn peer(number: u32) -> PeerId {
    let mut seed = [9; 32];
    seed[..4].copy_from_slice(&number.to_be_bytes());
    PeerId::from_bytes(&[&[0x00, 0x24, 0x08, 0x01, 0x12, 0x20][..], &seed].concat()).expect("a peer id")
}

fn id(number: usize) -> ConnectionId {
    ConnectionId::new_unchecked(number)
}

fn address(ip: IpAddr) -> Multiaddr {
    Multiaddr::from(ip).with(libp2p::multiaddr::Protocol::Tcp(9))
}

/// Somebody comes, all the way.
fn comes(doors: &mut Doors, number: u32, ip: IpAddr, now: Duration) -> Result<(), Refused> {
    let connection = id(usize::try_from(number).expect("small"));
    doors.knock(connection, Some(ip), now)?;
    doors.enter(connection, peer(number), Direction::Inbound, now)?;
    doors.opened(connection, Open { peer: peer(number), address: address(ip), direction: Direction::Inbound, since: now });
    Ok(())
}

#[test]
fn an_address_has_so_many_connections_and_a_64_is_one_address() {
    let mut doors = Doors::new(3);
    let (one, other) = (IpAddr::from([8, 8, 8, 8]), IpAddr::from([8, 8, 8, 9]));
    for number in 0..3 {
        assert_eq!(comes(&mut doors, number, one, SECOND), Ok(()));
    }
    assert_eq!(comes(&mut doors, 3, one, SECOND), Err(Refused::FullAddress));
    assert_eq!(comes(&mut doors, 3, other, SECOND), Ok(()));
    doors.gone(id(0));
    assert_eq!(doors.knock(id(4), Some(one), SECOND), Ok(()));
    assert_eq!(doors.knock(id(5), Some(one), SECOND), Err(Refused::FullAddress), "one that is still shaking hands counts");
    for number in 10..13u16 {
        let ip = IpAddr::from([0x2600, 1, 2, 3, 0, 0, 0, number]);
        assert_eq!(comes(&mut doors, number.into(), ip, SECOND), Ok(()));
    }
    assert_eq!(comes(&mut doors, 13, "2600:1:2:3:9::".parse().expect("an address"), SECOND), Err(Refused::FullAddress));
    assert_eq!(comes(&mut doors, 13, "2600:1:2:4:9::".parse().expect("an address"), SECOND), Ok(()));
}

#[test]
fn whom_one_expects_comes_in_when_all_is_full() {
    let mut doors = Doors::new(8);
    let ip = |number: u32| IpAddr::V4(Ipv4Addr::from_bits(number.wrapping_mul(1 << 12) | 0x0800_0000));
    let limit = u32::try_from(STRANGERS).expect("small");
    for number in 0..limit {
        assert_eq!(comes(&mut doors, number, ip(number), SECOND), Ok(()));
    }
    assert_eq!(comes(&mut doors, limit, ip(limit), SECOND), Err(Refused::Full));
    doors.expect([peer(limit)].into());
    assert_eq!(comes(&mut doors, limit, ip(limit), SECOND), Ok(()));
    // Nor do handshakes that do not end keep everybody out for nothing: they are bounded.
    let mut doors = Doors::new(8);
    let knocked = (0..10_000).filter(|number| doors.knock(id(*number as usize), Some(ip(*number)), SECOND).is_ok()).count();
    assert_eq!(knocked, KNOCKING);
}

#[test]
fn a_second_connection_ends_the_first_unless_that_is_a_moment_old() {
    let ip = IpAddr::from([8, 8, 8, 8]);
    let mut doors = Doors::new(8);
    assert_eq!(comes(&mut doors, 1, ip, SECOND), Ok(()));
    let again = |doors: &mut Doors, direction: Direction, now: Duration| {
        let refused = doors.enter(id(100), peer(1), direction, now);
        (refused, doors.closing.drain(..).count())
    };
    assert_eq!(again(&mut doors, Direction::Inbound, SECOND * 2), (Err(Refused::Second), 0), "both dialled");
    assert_eq!(again(&mut doors, Direction::Outbound, SECOND * 60), (Err(Refused::Second), 0), "this node dialled");
    assert_eq!(again(&mut doors, Direction::Inbound, SECOND * 60), (Err(Refused::Second), 1), "the peer has lost the first");
    doors.gone(id(1));
    assert_eq!(again(&mut doors, Direction::Inbound, SECOND * 61), (Ok(()), 0));
}

#[test]
fn who_is_banned_leaves_and_stays_outside() {
    let ip = IpAddr::from([8, 8, 8, 8]);
    let mut doors = Doors::new(8);
    for number in 1..=4 {
        assert_eq!(comes(&mut doors, number, ip, SECOND), Ok(()));
    }
    for number in 1..=3 {
        doors.offend(peer(number), Offence::WrongChain, false, &[], SECOND);
    }
    let closed: Vec<PeerId> = doors.closing.drain(..).map(|(peer, _)| peer).collect();
    assert!(closed.contains(&peer(4)), "it is at the address of three that were banned");
    (1..=4).for_each(|number| doors.gone(id(number)));
    assert_eq!(comes(&mut doors, 5, ip, SECOND * 2), Err(Refused::BannedAddress));
    assert_eq!(comes(&mut doors, 1, IpAddr::from([9, 9, 9, 9]), SECOND * 2), Err(Refused::Banned));
    assert_eq!(comes(&mut doors, 5, IpAddr::from([9, 9, 9, 9]), SECOND * 2), Ok(()));

    // Neither this machine nor whatever is at an address that the operator named is banned by its address.
    for (home, spared) in [(IpAddr::from([127, 0, 0, 1]), vec![]), (ip, vec![ip])] {
        let mut doors = Doors::new(8);
        for number in 1..=6 {
            assert_eq!(comes(&mut doors, number, home, SECOND), Ok(()));
            doors.offend(peer(number), Offence::WrongChain, false, &spared, SECOND);
        }
        assert_eq!(comes(&mut doors, 7, home, SECOND), Ok(()));
    }
}
