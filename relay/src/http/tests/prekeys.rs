use mailbox::Bytes;
use rpc::relay::{PrekeyBundles, PrekeyStock, PublishPrekeys, path};

use super::Door;
use crate::accounts::tests::{Person, prekeys};

fn of(person: &Person) -> String {
    path::PREKEYS_OF.replace("{did}", &person.did().to_string())
}

#[tokio::test]
async fn prekeys_are_published_and_handed_out() {
    let door = Door::open().await;
    let (alice, bob) = (door.registered().await, door.registered().await);
    let (for_alice, for_bob) = (door.signed_in(&alice, 1).await.access_token, door.signed_in(&bob, 1).await.access_token);
    assert_eq!(door.get(path::PREKEYS, Some(&for_bob)).await.code(), 7044, "none yet");
    let none: PrekeyBundles = door.get(&of(&bob), Some(&for_alice)).await.read();
    assert_eq!(none, PrekeyBundles { did: bob.did(), devices: vec![] });
    let published = door.send_from("192.0.2.1", "PUT", path::PREKEYS, Some(&for_bob), &prekeys(&bob, 1, 5, 1, 100)).await;
    assert_eq!(published.read::<PrekeyStock>(), PrekeyStock { one_time: 100, one_time_kyber: 100 });
    let mut handed_out = Vec::new();
    for _ in 0..5 {
        let bundles: PrekeyBundles = door.get(&of(&bob), Some(&for_alice)).await.read();
        let [bundle] = &bundles.devices[..] else { panic!("one device") };
        handed_out.push(bundle.one_time.as_ref().expect("there are some").id);
    }
    assert_eq!(handed_out, [1, 2, 3, 4, 5]);
    let refused = door.get(&of(&bob), Some(&for_alice)).await;
    assert_eq!((refused.code(), refused.status.as_u16()), (7035, 429), "six in ten minutes");
    assert_eq!(door.get(&of(&alice), Some(&for_alice)).await.code(), 0, "of each identity");
    let own: PrekeyBundles = door.get(&of(&bob), Some(&for_bob)).await.read();
    assert_eq!(own.devices, [], "nobody opens a session with oneself");
    let stock: PrekeyStock = door.get(path::PREKEYS, Some(&for_bob)).await.read();
    assert_eq!(stock, PrekeyStock { one_time: 95, one_time_kyber: 95 });
    assert_eq!(door.get(&of(&Person::new()), Some(&for_alice)).await.code(), 7027, "nobody here");
    assert_eq!(door.get(&path::PREKEYS_OF.replace("{did}", "did:zynk:x"), Some(&for_alice)).await.code(), 7001);
    assert_eq!(door.get(&of(&bob), None).await.code(), 7011);
}

#[tokio::test]
async fn what_is_no_prekey_is_refused() {
    let door = Door::open().await;
    let (person, other) = (door.registered().await, door.registered().await);
    let token = door.signed_in(&person, 1).await.access_token;
    let check = async |story: &str, expected: u64, bend: &dyn Fn(&mut PublishPrekeys)| {
        let mut keys = prekeys(&person, 1, 5, 1, 3);
        bend(&mut keys);
        let answer = door.send_from("192.0.2.1", "PUT", path::PREKEYS, Some(&token), &keys).await;
        assert_eq!(answer.code(), expected, "{story}: {answer:?}");
    };
    check("as they are", 0, &|_| {}).await;
    check("no registration id", 7042, &|keys| keys.registration_id = 0).await;
    check("15 bits", 7042, &|keys| keys.registration_id = 0x4000).await;
    check("a short possession", 7042, &|keys| keys.possession = Bytes(vec![1; 63])).await;
    check("a short succession", 7042, &|keys| keys.succession = Some(Bytes(vec![1; 63]))).await;
    check("a long succession", 7042, &|keys| keys.succession = Some(Bytes(vec![1; 65]))).await;
    check("an empty succession", 7042, &|keys| keys.succession = Some(Bytes(vec![]))).await;
    check("a succession", 0, &|keys| keys.succession = Some(Bytes(vec![1; 64]))).await;
    check("a short signature", 7042, &|keys| keys.signed_prekey.signature = Bytes(vec![1; 63])).await;
    check("a Kyber key for X25519", 7042, &|keys| keys.signed_prekey.key = keys.last_resort_kyber.key.clone()).await;
    check("an X25519 key for Kyber", 7042, &|keys| keys.last_resort_kyber.key = keys.signed_prekey.key.clone()).await;
    check("a long one-time key", 7042, &|keys| keys.one_time[2].key.0.push(0)).await;
    check("another kind of key", 7042, &|keys| keys.one_time[0].key.0[0] = 6).await;
    check("no one-time key at all", 7042, &|keys| keys.one_time_kyber[0].key = Bytes(vec![])).await;
    check("one id twice", 7042, &|keys| keys.one_time[1].id = keys.one_time[0].id).await;
    check("too many at once", 7042, &|keys| keys.one_time = prekeys(&person, 1, 5, 1, 101).one_time).await;
    check("another's identity key", 7041, &|keys| keys.identity_key = other.device(1).signal()).await;
    check("a stock that is full", 0, &|keys| *keys = prekeys(&person, 1, 5, 10, 100)).await;
    check("and fuller", 7043, &|keys| *keys = prekeys(&person, 1, 5, 200, 100)).await;
    let long = door.send_from("192.0.2.1", "PUT", path::PREKEYS, Some(&token), &"x".repeat(400_000)).await;
    assert_eq!((long.code(), long.status.as_u16()), (7003, 413), "a long body");
}
