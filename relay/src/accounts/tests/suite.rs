//! The suite that every store of accounts passes.

use std::collections::BTreeSet;
use std::sync::Arc;

use mailbox::Bytes;
use rpc::relay::{PrekeyStock, PublishPrekeys};
use types::{Hash, Height, Millis};

use super::people::{Person, prekeys};
use crate::accounts::{Accounts, MAX_ONE_TIME, MAX_SESSIONS, NewSession, Opened, Quota, Rotation, SessionId, subject};

const NOW: Millis = Millis(1_800_000_000_000);

/// Runs all of it, each story against a store that `fresh` makes.
pub(crate) async fn all<A, F>(fresh: impl Fn() -> F)
where
    A: Accounts + 'static,
    F: Future<Output = Arc<A>>,
{
    identities(&*fresh().await).await;
    sessions(&*fresh().await).await;
    refresh_tokens(&*fresh().await).await;
    removed_devices(&*fresh().await).await;
    invitations(&*fresh().await).await;
    quotas(&*fresh().await).await;
    published(&*fresh().await).await;
    handed_out(&*fresh().await).await;
    successions(&*fresh().await).await;
    one_time_keys_at_once(fresh().await).await;
    forgotten(&*fresh().await).await;
}

pub(crate) async fn registered(accounts: &dyn Accounts, person: &Person) {
    accounts.register(&person.did(), &person.known(), NOW).await.expect("an account");
}

pub(crate) async fn is_known(accounts: &dyn Accounts, person: &Person) {
    assert_eq!(accounts.account(&person.did()).await.expect("read"), Some(person.known()));
}

fn hash(number: u8) -> Hash {
    Hash([number; 32])
}

fn later(ms: u64) -> Millis {
    Millis(NOW.0 + ms)
}

fn session(person: &Person, device: u16, number: u8) -> NewSession {
    NewSession {
        id: [number; 16],
        address: person.address(device),
        key: person.key(device).public(),
        nonce: hash(number),
        nonce_expires: later(60_000),
        refresh: hash(number),
        now: later(u64::from(number)),
        expires: later(1_000_000),
    }
}

async fn open(accounts: &dyn Accounts, person: &Person, device: u16, number: u8) -> Opened {
    accounts.open_session(&session(person, device, number)).await.expect("stored")
}

async fn ended(accounts: &dyn Accounts) -> Vec<SessionId> {
    let ended = accounts.ended_since(NOW, 100).await.expect("read");
    ended.into_iter().map(|(session, _)| session).collect()
}

async fn identities(accounts: &dyn Accounts) {
    let (mut person, other) = (Person::new(), Person::new());
    assert_eq!(accounts.account(&person.did()).await.expect("read"), None, "nobody is here");
    assert_eq!(accounts.devices(&person.did()).await.expect("read"), None, "nobody is here");
    assert_eq!(accounts.refresh(&person.did(), &person.known(), NOW).await.expect("read"), Vec::<SessionId>::new());
    assert_eq!(accounts.account(&person.did()).await.expect("read"), None, "a newer entry makes no account");
    registered(accounts, &person).await;
    registered(accounts, &other).await;
    let before = person.known();
    let add = person.adding();
    person.apply(&add);
    registered(accounts, &person).await;
    is_known(accounts, &person).await;
    accounts.refresh(&person.did(), &before, NOW).await.expect("stored");
    is_known(accounts, &person).await;
    let mut dids = [person.did(), other.did()];
    dids.sort_unstable();
    assert_eq!(accounts.page(None).await.expect("read"), dids);
    assert_eq!(accounts.page(Some(dids[0])).await.expect("read"), [dids[1]]);
    assert_eq!(accounts.page(Some(dids[1])).await.expect("read"), []);
    assert_eq!(accounts.followed().await.expect("read"), None);
    for height in [Height(7), Height(9)] {
        accounts.set_followed(height).await.expect("stored");
        assert_eq!(accounts.followed().await.expect("read"), Some(height));
    }
}

async fn sessions(accounts: &dyn Accounts) {
    let person = Person::new();
    assert_eq!(open(accounts, &person, 1, 1).await, Opened::NoDevice, "nobody is here");
    registered(accounts, &person).await;
    let stranger = NewSession { key: Person::new().key(1).public(), ..session(&person, 1, 2) };
    assert_eq!(accounts.open_session(&stranger).await.expect("read"), Opened::NoDevice, "another key");
    assert_eq!(open(accounts, &person, 1, 3).await, Opened::Yes(vec![]));
    assert_eq!(open(accounts, &person, 1, 3).await, Opened::Replayed, "the same challenge");
    for number in 4..=2 + u8::try_from(MAX_SESSIONS).expect("a few") {
        assert_eq!(open(accounts, &person, 1, number).await, Opened::Yes(vec![]));
    }
    assert_eq!(open(accounts, &person, 1, 20).await, Opened::Yes(vec![[3; 16]]), "the oldest makes room");
    assert_eq!(ended(accounts).await, [[3; 16]]);
    let listed = accounts.sessions(&person.did(), NOW).await.expect("read");
    let opened: Vec<_> = listed.iter().map(|session| session.opened.0 - NOW.0).collect();
    assert_eq!(opened, [20, 6, 5, 4], "newest first");
    accounts.end_session(&[20; 16], later(30)).await.expect("stored");
    accounts.end_session(&[20; 16], later(90)).await.expect("stored");
    accounts.end_session(&[99; 16], later(90)).await.expect("no such session is no fault");
    assert_eq!(accounts.ended_since(later(25), 100).await.expect("read"), [([20; 16], later(30))], "an end is an end");
    assert_eq!(accounts.sessions(&person.did(), NOW).await.expect("read").len(), 3);
    assert_eq!(accounts.sessions(&person.did(), later(1_000_000)).await.expect("read"), [], "all have expired");
}

async fn refresh_tokens(accounts: &dyn Accounts) {
    let person = Person::new();
    registered(accounts, &person).await;
    open(accounts, &person, 1, 1).await;
    open(accounts, &person, 1, 2).await;
    let rotate = async |used: u8, next: u8, at: u64| {
        accounts.rotate(&hash(used), &hash(next), later(at), later(at + 1_000_000)).await.expect("stored")
    };
    let next = |number: u8| Rotation::Next { address: person.address(1), session: [number; 16] };
    assert_eq!(rotate(77, 78, 10).await, Rotation::Unknown, "never given");
    assert_eq!(rotate(1, 10, 10).await, next(1));
    assert_eq!(rotate(10, 11, 20).await, next(1), "the next one");
    assert_eq!(rotate(2, 12, 20).await, next(2), "another session");
    assert_eq!(accounts.sessions(&person.did(), NOW).await.expect("read")[1].refreshed, later(20));
    assert_eq!(rotate(1, 13, 30).await, Rotation::Reused([1; 16]), "a thief or its owner comes second");
    assert_eq!(rotate(11, 14, 30).await, Rotation::Unknown, "and nobody has the session then");
    assert_eq!(ended(accounts).await, [[1; 16]]);
    assert_eq!(rotate(12, 15, 1_000_020).await, Rotation::Unknown, "expired");
    assert_eq!(rotate(12, 15, 1_000_019).await, next(2), "in the last moment");
}

async fn removed_devices(accounts: &dyn Accounts) {
    let mut person = Person::new();
    let add = person.adding();
    person.apply(&add);
    registered(accounts, &person).await;
    for device in [1, 2] {
        open(accounts, &person, device, u8::try_from(device).expect("small")).await;
        let keys = prekeys(&person, device, 40 + u32::from(device), 1, 2);
        accounts.publish(&person.address(device), &keys, NOW).await.expect("prekeys");
    }
    let devices = accounts.devices(&person.did()).await.expect("read").expect("an account");
    assert_eq!(devices.0.into_iter().collect::<Vec<_>>(), [(1, 41), (2, 42)]);
    let (second, remove) = (session(&person, 2, 9), person.removing(2));
    person.apply(&remove);
    assert_eq!(accounts.refresh(&person.did(), &person.known(), later(50)).await.expect("stored"), [[2; 16]]);
    assert_eq!(ended(accounts).await, [[2; 16]]);
    let devices = accounts.devices(&person.did()).await.expect("read").expect("an account");
    assert_eq!(devices.0.into_keys().collect::<Vec<_>>(), [1], "at once, not from memory");
    assert_eq!(accounts.stock(&person.address(2)).await.expect("read"), None, "its prekeys are gone");
    assert_eq!(accounts.open_session(&second).await.expect("read"), Opened::NoDevice, "a sign-in that was slower than the removal");
    assert_eq!(accounts.rotate(&hash(2), &hash(3), later(60), later(70)).await.expect("read"), Rotation::Unknown);
    let end = person.deactivating();
    person.apply(&end);
    assert_eq!(accounts.refresh(&person.did(), &person.known(), later(70)).await.expect("stored"), [[1; 16]]);
    assert_eq!(accounts.devices(&person.did()).await.expect("read").expect("an account").0.len(), 0);
}

async fn invitations(accounts: &dyn Accounts) {
    let (person, other) = (Person::new().did(), Person::new().did());
    accounts.invite(&hash(1), NOW, later(100)).await.expect("stored");
    let redeem = async |code, did, at| accounts.redeem(&hash(code), did, later(at)).await.expect("stored");
    assert!(!redeem(2, &person, 1).await, "never made");
    assert!(!redeem(1, &person, 100).await, "expired");
    assert!(redeem(1, &person, 1).await, "good");
    assert!(redeem(1, &person, 2).await, "the same person tries again");
    assert!(!redeem(1, &other, 3).await, "used");
}

async fn quotas(accounts: &dyn Accounts) {
    let quota = |kind, most| Quota { subject: subject(kind, &[b"x"]), period_ms: 1_000, most };
    let (all, own) = (quota("all", 3), quota("own", 2));
    let count = async |quotas: &[Quota], at| accounts.count(quotas, later(at)).await.expect("stored");
    assert_eq!(count(&[all, own], 0).await, Ok(()));
    assert_eq!(count(&[all, own], 100).await, Ok(()));
    assert_eq!(count(&[all, own], 200).await, Err((1, 800)), "its own are used up");
    assert_eq!(count(&[all], 300).await, Ok(()), "and the refused one did not count for all");
    assert_eq!(count(&[all], 400).await, Err((0, 600)));
    accounts.uncount(&[all, own], later(500)).await.expect("stored");
    assert_eq!(count(&[all, own], 600).await, Ok(()), "what was taken back");
    assert_eq!(count(&[all, own], 999).await, Err((0, 1)));
    assert_eq!(count(&[all, own], 1_000).await, Ok(()), "the next period");
    assert_eq!(count(&[quota("nothing", 0)], 0).await, Err((0, 1_000)));
}

async fn published(accounts: &dyn Accounts) {
    let (person, other) = (Person::new(), Person::new());
    let address = person.address(1);
    let publish = async |keys| accounts.publish(&address, &keys, NOW).await.map_err(|error| error.code());
    let stock = |count| Ok(PrekeyStock { one_time: count, one_time_kyber: count });
    assert_eq!(publish(prekeys(&person, 1, 5, 1, 1)).await, Err(7027), "nobody is here");
    registered(accounts, &person).await;
    assert_eq!(accounts.stock(&address).await.expect("read"), None);
    assert_eq!(publish(prekeys(&other, 1, 5, 1, 1)).await, Err(7041), "another Signal key");
    let no_device = accounts.publish(&person.address(2), &prekeys(&person, 1, 5, 1, 1), NOW).await;
    assert_eq!(no_device.map_err(|error| error.code()), Err(7041), "no such device");
    assert_eq!(publish(prekeys(&person, 1, 5, 1, 10)).await, stock(10));
    assert_eq!(publish(prekeys(&person, 1, 5, 6, 10)).await, stock(15), "five of them again");
    assert_eq!(publish(prekeys(&person, 1, 5, 100, MAX_ONE_TIME)).await, Err(7043), "too many");
    assert_eq!(accounts.stock(&address).await.map_err(|error| error.code()), stock(15).map(Some), "nothing changed");
    assert_eq!(publish(prekeys(&person, 1, 6, 1, 3)).await, stock(3), "set up anew: what was there is of no use");
    let devices = accounts.devices(&person.did()).await.expect("read").expect("an account");
    assert_eq!(devices.0.into_iter().collect::<Vec<_>>(), [(1, 6)]);
}

async fn handed_out(accounts: &dyn Accounts) {
    let person = Person::new();
    let address = person.address(1);
    assert_eq!(accounts.hand_out(&person.did(), None, NOW).await.expect("read"), None, "nobody is here");
    registered(accounts, &person).await;
    assert_eq!(accounts.hand_out(&person.did(), None, NOW).await.expect("read"), Some(vec![]), "nothing published");
    let keys = prekeys(&person, 1, 5, 1, 2);
    accounts.publish(&address, &keys, NOW).await.expect("prekeys");
    assert_eq!(accounts.hand_out(&person.did(), Some(1), NOW).await.expect("read"), Some(vec![]), "not one's own");
    let take = async || accounts.hand_out(&person.did(), None, NOW).await.expect("read").expect("an account").remove(0);
    for place in 0..2 {
        let bundle = take().await;
        assert_eq!(bundle.one_time.as_ref(), Some(&keys.one_time[place]));
        assert_eq!(bundle.kyber_prekey, keys.one_time_kyber[place]);
        assert_eq!((bundle.device, bundle.registration_id, bundle.identity_key), (1, 5, keys.identity_key));
        assert_eq!((bundle.possession, bundle.signed_prekey), (keys.possession.clone(), keys.signed_prekey.clone()));
    }
    let bundle = take().await;
    assert_eq!((bundle.one_time, bundle.kyber_prekey), (None, keys.last_resort_kyber.clone()), "the last resort");
    let stock = accounts.publish(&address, &keys, NOW).await.expect("prekeys");
    assert_eq!(stock, PrekeyStock { one_time: 0, one_time_kyber: 0 }, "published again, not handed out again");
    assert_eq!(take().await.one_time, None);
}

/// Of somebody who is registered: what was published last counts.
pub(crate) async fn keeps_a_succession(accounts: &dyn Accounts, person: &Person) {
    for succession in [Some(Bytes(vec![1; 64])), Some(Bytes(vec![2; 64])), None, Some(Bytes(vec![3; 64]))] {
        let keys = PublishPrekeys { succession: succession.clone(), ..prekeys(person, 1, 5, 1, 1) };
        accounts.publish(&person.address(1), &keys, NOW).await.expect("prekeys");
        let bundles = accounts.hand_out(&person.did(), None, NOW).await.expect("read").expect("an account");
        assert_eq!(bundles[0].succession, succession);
    }
}

async fn successions(accounts: &dyn Accounts) {
    let mut person = Person::new();
    registered(accounts, &person).await;
    keeps_a_succession(accounts, &person).await;
    // The chain has another key: what the key before it had published is gone, its succession with it.
    let before = prekeys(&person, 1, 5, 1, 1);
    person.rekey(1);
    accounts.refresh(&person.did(), &person.known(), NOW).await.expect("stored");
    assert_eq!(accounts.hand_out(&person.did(), None, NOW).await.expect("read"), Some(vec![]));
    let refused = accounts.publish(&person.address(1), &before, NOW).await.map_err(|error| error.code());
    assert_eq!(refused, Err(7041), "of the key before");
    let anew = PublishPrekeys { identity_key: person.signal(1), ..before };
    accounts.publish(&person.address(1), &anew, NOW).await.expect("prekeys");
    let bundles = accounts.hand_out(&person.did(), None, NOW).await.expect("read").expect("an account");
    assert_eq!((bundles[0].identity_key, &bundles[0].succession), (person.signal(1), &None));
}

async fn one_time_keys_at_once<A: Accounts + 'static>(accounts: Arc<A>) {
    const KEYS: u32 = 40;
    const ASKED: u32 = 60;
    let person = Person::new();
    registered(&*accounts, &person).await;
    accounts.publish(&person.address(1), &prekeys(&person, 1, 5, 1, KEYS), NOW).await.expect("prekeys");
    let ask = |_| {
        let (accounts, did) = (accounts.clone(), person.did());
        tokio::spawn(async move { accounts.hand_out(&did, None, NOW).await.expect("read").expect("an account").remove(0) })
    };
    let asked: Vec<_> = (0..ASKED).map(ask).collect();
    let (mut x25519, mut kyber, mut without) = (BTreeSet::new(), BTreeSet::new(), 0);
    for bundle in asked {
        let bundle = bundle.await.expect("no panic");
        match bundle.one_time {
            Some(key) => assert!(x25519.insert(key.id) && kyber.insert(bundle.kyber_prekey.id), "each once"),
            None => {
                without += 1;
                assert_eq!(bundle.kyber_prekey.id, 0, "the last resort");
            }
        }
    }
    let every: BTreeSet<_> = (1..=KEYS).collect();
    assert_eq!((x25519, kyber, without), (every.clone(), every, ASKED - KEYS));
}

async fn forgotten(accounts: &dyn Accounts) {
    let person = Person::new();
    registered(accounts, &person).await;
    open(accounts, &person, 1, 1).await;
    accounts.publish(&person.address(1), &prekeys(&person, 1, 5, 1, 2), NOW).await.expect("prekeys");
    accounts.hand_out(&person.did(), None, NOW).await.expect("read");
    accounts.sweep(later(59_999)).await.expect("stored");
    let again = |number| NewSession { id: [number; 16], refresh: hash(number), ..session(&person, 1, 1) };
    assert_eq!(accounts.open_session(&again(2)).await.expect("stored"), Opened::Replayed, "remembered while it counts");
    accounts.sweep(later(60_000)).await.expect("stored");
    assert_eq!(accounts.open_session(&again(3)).await.expect("stored"), Opened::Yes(vec![]), "its own time refuses it from then on");
    accounts.sweep(later(2_000_000)).await.expect("stored");
    assert_eq!(accounts.rotate(&hash(1), &hash(9), NOW, later(1)).await.expect("read"), Rotation::Unknown, "expired and forgotten");
    is_known(accounts, &person).await;
    let stock = accounts.stock(&person.address(1)).await.expect("read");
    assert_eq!(stock, Some(PrekeyStock { one_time: 1, one_time_kyber: 1 }), "what is left stays");
}
