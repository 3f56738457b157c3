use super::*;

fn address(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

#[test]
fn an_address_asks_so_often_and_no_oftener() {
    let rates = Rates::new(Rate { per_second: 10, burst: 3 });
    let take = |last, at| rates.take_at(address(last), Millis(at), 2);
    for at in 0..3 {
        assert_eq!(take(1, at), Ok(()), "the burst");
    }
    let wait = take(1, 3).expect_err("the burst is used up");
    assert!((1..=100).contains(&wait), "{wait}");
    assert_eq!(take(2, 3), Ok(()), "another address is another bucket");
    assert_eq!(take(1, 3 + wait), Ok(()), "after the wait there is one more");
    assert!(take(1, 4 + wait).is_err());
}

#[test]
fn a_flood_of_addresses_shares_one_bucket() {
    let rates = Rates::new(Rate { per_second: 10, burst: 3 });
    let take = |last, at| rates.take_at(address(last), Millis(at), 2);
    assert_eq!((take(1, 2000), take(2, 2000)), (Ok(()), Ok(())), "the table is full");
    let strangers: Vec<_> = (3..8).map(|last| take(last, 2001).is_ok()).collect();
    assert_eq!(strangers, [true, true, true, false, false]);
    assert_eq!(take(1, 2002), Ok(()), "who was here is not touched");
    assert_eq!(take(9, 4000), Ok(()), "full buckets are forgotten");
    assert_eq!(rates.table.lock().expect("no panic").buckets.len(), 1);
}

#[test]
fn an_ipv6_client_counts_by_its_network() {
    let counted = |text: &str| counted(text.parse().expect("an address")).to_string();
    assert_eq!(counted("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    assert_eq!(counted("::ffff:192.0.2.1"), "192.0.2.1");
}

#[test]
fn places_are_given_back() {
    let gauge = Gauge::default();
    let places = Places::new(3, 2, gauge.clone());
    let (first, second) = (places.take(address(1), false), places.take(address(1), false));
    assert!(first.is_some() && second.is_some());
    assert!(places.take(address(1), false).is_none(), "two for each address");
    let third = places.take(address(1), true).expect("a proxy is not bounded by address");
    assert!(places.take(address(2), false).is_none(), "three in total");
    assert_eq!(gauge.get(), 3);
    drop((first, third));
    assert_eq!(gauge.get(), 1);
    assert!(places.take(address(2), false).is_some() && places.take(address(1), false).is_some());
    drop(second);
    assert_eq!((gauge.get(), places.taken.lock().expect("no panic").each.len()), (0, 0), "nothing is remembered");
}
