//! Two devices' Signal layers against each other, without a relay.

use mailbox::frame::Form;

use super::*;
use crate::fixture::{NOW, Person};

/// One end: a device, and its session with the other.
struct End<'a> {
    who: &'a Person,
    device: u16,
    session: Option<Vec<u8>>,
}

impl<'a> End<'a> {
    const fn new(who: &'a Person, device: u16) -> Self {
        Self { who, device, session: None }
    }

    fn begin(&mut self, with: &End<'_>) -> Result<(), Refused> {
        let bundle = with.who.bundle(with.device);
        self.session = Some(begin(self.who.own(self.device), &with.who.peer(with.device), &bundle, self.session.as_deref(), NOW)?);
        Ok(())
    }

    fn encrypt(&mut self, to: &End<'_>, text: &[u8]) -> Encrypted {
        let made = self.try_encrypt(to, text).expect("the session stands");
        self.session = Some(made.session.clone());
        made
    }

    fn try_encrypt(&self, to: &End<'_>, text: &[u8]) -> Result<Encrypted, Refused> {
        encrypt(self.who.own(self.device), &to.who.peer(to.device), self.session.as_deref().expect("a session"), text, NOW)
    }

    /// Reads, and keeps what changed only if `commit`.
    fn decrypt(&mut self, from: &End<'_>, made: &Encrypted, commit: bool) -> Result<Vec<u8>, Refused> {
        let device = &self.who.devices[&self.device];
        let prekeys = match made.form {
            Form::Prekey => asked(&made.ciphertext).map(|asked| device.prekeys(&asked.used)).unwrap_or_default(),
            Form::Ratchet => Prekeys::default(),
        };
        let peer = from.who.peer(from.device);
        let read = decrypt(&device.own, &peer, made.form, &made.ciphertext, self.session.as_deref(), &prekeys, NOW)?;
        if commit {
            self.session = Some(read.session);
        }
        Ok(read.plaintext)
    }
}

#[test]
fn a_session_begins_and_both_sides_go_on() {
    let (alice, bob) = (Person::new(1, 1), Person::new(50, 1));
    let (mut a, mut b) = (End::new(&alice, 1), End::new(&bob, 1));
    a.begin(&b).expect("an honest bundle");
    for number in 0..3u8 {
        let made = a.encrypt(&b, &[number]);
        assert_eq!((made.form, made.registration_id), (Form::Prekey, bob.own(1).registration_id), "unanswered, each begins the session");
        assert_eq!(b.decrypt(&a, &made, true), Ok(vec![number]));
    }
    for number in 0..20u8 {
        let made = b.encrypt(&a, &[number]);
        assert_eq!(made.form, Form::Ratchet);
        assert_eq!(a.decrypt(&b, &made, true), Ok(vec![number]));
        let made = a.encrypt(&b, &[number, number]);
        assert_eq!(made.form, Form::Ratchet);
        assert_eq!(b.decrypt(&a, &made, true), Ok(vec![number, number]));
    }
    assert!(is_usable(a.session.as_deref().expect("a session"), NOW));
}

#[test]
fn what_arrives_out_of_order_is_read_and_what_arrives_twice_is_not() {
    let (alice, bob) = (Person::new(1, 1), Person::new(50, 1));
    let (mut a, mut b) = (End::new(&alice, 1), End::new(&bob, 1));
    a.begin(&b).expect("an honest bundle");
    let sent: Vec<_> = (0..4u8).map(|number| a.encrypt(&b, &[number])).collect();
    for number in [2u8, 0, 3, 1] {
        assert_eq!(b.decrypt(&a, &sent[usize::from(number)], true), Ok(vec![number]));
    }
    for made in &sent {
        assert_eq!(b.decrypt(&a, made, true), Err(Refused::Duplicate));
    }
}

#[test]
fn each_device_has_a_session_of_its_own() {
    let (alice, bob) = (Person::new(1, 2), Person::new(50, 2));
    let mut a = [End::new(&alice, 1), End::new(&alice, 1), End::new(&alice, 1)];
    let mut others = [End::new(&bob, 1), End::new(&bob, 2), End::new(&alice, 2)];
    let sender = End::new(&alice, 1);
    for (mine, theirs) in a.iter_mut().zip(&mut others) {
        mine.begin(theirs).expect("an honest bundle");
        let made = mine.encrypt(theirs, b"to all");
        assert_eq!(theirs.decrypt(&sender, &made, true), Ok(b"to all".to_vec()));
    }
    // What was made for one device does not decrypt on another.
    let made = a[0].encrypt(&others[0], b"for device 1");
    assert!(others[1].decrypt(&sender, &made, true).is_err());
    assert_eq!(others[0].decrypt(&sender, &made, true), Ok(b"for device 1".to_vec()));
}

#[test]
fn a_crash_between_a_step_and_its_commit_costs_nothing() {
    let (alice, bob) = (Person::new(1, 1), Person::new(50, 1));
    let (mut a, mut b) = (End::new(&alice, 1), End::new(&bob, 1));
    a.begin(&b).expect("an honest bundle");
    // The sender crashes after the step and before the commit: nothing left, the step is taken again.
    drop(a.try_encrypt(&b, b"never left").expect("the session stands"));
    let first = a.encrypt(&b, b"first");
    // The receiver crashes after the step and before the commit: the relay gives the message again.
    assert_eq!(b.decrypt(&a, &first, false), Ok(b"first".to_vec()));
    assert_eq!(b.decrypt(&a, &first, false), Ok(b"first".to_vec()));
    assert_eq!(b.decrypt(&a, &first, true), Ok(b"first".to_vec()));
    let reply = b.encrypt(&a, b"reply");
    assert_eq!(a.decrypt(&b, &reply, false), Ok(b"reply".to_vec()));
    assert_eq!(a.decrypt(&b, &reply, true), Ok(b"reply".to_vec()));
    drop(a.try_encrypt(&b, b"never left either").expect("the session stands"));
    let last = a.encrypt(&b, b"last");
    assert_eq!(b.decrypt(&a, &last, true), Ok(b"last".to_vec()));
}

#[test]
fn one_changed_bit_is_refused_and_the_session_goes_on() {
    let (alice, bob) = (Person::new(1, 1), Person::new(50, 1));
    let (mut a, mut b) = (End::new(&alice, 1), End::new(&bob, 1));
    a.begin(&b).expect("an honest bundle");
    let prekey = a.encrypt(&b, b"hello");
    let mut ratchet = None;
    for made in [Some(prekey), None] {
        let made = made.unwrap_or_else(|| {
            let reply = b.encrypt(&a, b"reply");
            a.decrypt(&b, &reply, true).expect("an honest reply");
            ratchet.get_or_insert_with(|| a.encrypt(&b, b"hello again")).clone()
        });
        let step = made.ciphertext.len().div_ceil(97);
        for at in (0..made.ciphertext.len()).step_by(step) {
            let mut changed = made.clone();
            changed.ciphertext[at] ^= 0x10;
            let before = b.session.clone();
            // A bit of a field that the library does not read may change nothing; the text never changes.
            if let Ok(text) = b.decrypt(&a, &changed, false) {
                assert_eq!(text, if made.form == Form::Prekey { b"hello".to_vec() } else { b"hello again".to_vec() });
            }
            assert_eq!(b.session, before);
        }
        b.decrypt(&a, &made, true).expect("the honest one is read");
    }
    for bytes in [&[][..], &[0], &[0x44; 40], &[0xff; 2000]] {
        for form in [Form::Prekey, Form::Ratchet] {
            let made = Encrypted { session: Vec::new(), form, registration_id: 1, ciphertext: bytes.to_vec() };
            assert!(b.decrypt(&a, &made, false).is_err());
        }
    }
}

#[test]
fn sessions_that_must_not_be_are_refused() {
    let (alice, bob, mallory) = (Person::new(1, 1), Person::new(50, 1), Person::new(101, 1));
    let own = alice.own(1);
    let refused = |peer: &Peer, bundle: &PrekeyBundle| begin(own, peer, bundle, None, NOW).expect_err("must not be");
    // Another's key under Bob's name: the chain's is what counts.
    assert_eq!(refused(&bob.peer(1), &mallory.bundle(1)), Refused::OtherIdentity);
    // Oneself.
    assert_eq!(refused(&alice.peer(1), &alice.bundle(1)), Refused::Oneself);
    // Oneself under another name.
    assert_eq!(refused(&Peer { address: bob.address(1), ..alice.peer(1) }, &alice.bundle(1)), Refused::Oneself);
    // A Signal key of low order, whatever signs for it.
    let zero = SignalKey::from_x25519(&[0; 32]);
    let weak = PrekeyBundle { identity_key: zero, ..bob.bundle(1) };
    assert_eq!(refused(&Peer { key: zero, ..bob.peer(1) }, &weak), Refused::WeakKey { what: "Signal key" });
    // A key that is not reduced: the same point, other bytes.
    let mut bytes = [0xff; 32];
    bytes[31] = 0x7f;
    let unreduced = SignalKey::from_x25519(&bytes);
    let weak = PrekeyBundle { identity_key: unreduced, ..bob.bundle(1) };
    assert_eq!(refused(&Peer { key: unreduced, ..bob.peer(1) }, &weak), Refused::WeakKey { what: "Signal key" });
}

#[test]
fn a_message_of_another_than_the_chain_says_is_refused() {
    let (alice, bob, mallory) = (Person::new(1, 1), Person::new(50, 1), Person::new(101, 1));
    let (mut m, mut b) = (End::new(&mallory, 1), End::new(&bob, 1));
    m.begin(&b).expect("an honest bundle");
    let made = m.encrypt(&b, b"I am Alice");
    // The relay says that Alice sent it.
    assert_eq!(b.decrypt(&End::new(&alice, 1), &made, true), Err(Refused::OtherIdentity));
    // A copy of Bob's own key cannot begin a session with Bob.
    let twin = Person { did: mallory.did, entry: bob.entry.clone(), control: bob.control.clone(), devices: bob.devices.clone() };
    assert_eq!(b.decrypt(&End::new(&twin, 1), &made, true), Err(Refused::Oneself));
}

#[test]
fn a_session_without_the_post_quantum_ratchet_is_refused() {
    let (alice, bob) = (Person::new(1, 1), Person::new(50, 1));
    let (mut a, b) = (End::new(&alice, 1), End::new(&bob, 1));
    a.begin(&b).expect("an honest bundle");
    let session = a.session.clone().expect("a session");
    assert!(is_usable(&session, NOW));
    let record = without_ratchet(&session);
    assert!(!is_usable(&record, NOW));
    a.session = Some(record);
    assert_eq!(a.try_encrypt(&b, b"hello").map(|_| ()), Err(Refused::NotPostQuantum));
    // And one that was never answered, once it is old.
    let later = Millis(NOW.0 + 40 * 24 * 60 * 60 * 1000);
    assert!(!is_usable(&session, later));
}

/// A peer that leaves the post-quantum ratchet out of its messages: the receiver would go on without.
#[test]
fn a_peer_that_downgrades_is_refused_after_its_message() {
    let (alice, bob) = (Person::new(1, 1), Person::new(50, 1));
    let (mut a, mut b) = (End::new(&alice, 1), End::new(&bob, 1));
    a.begin(&b).expect("an honest bundle");
    let record = SessionRecord::deserialize(&without_ratchet(a.session.as_deref().expect("a session"))).expect("a record");
    let mut sessions = Sessions::of(Some(record));
    let mut identities = Identities::of(alice.own(1), strong(bob.peer(1).key.as_bytes(), "key").expect("Bob's key"));
    let address = address(&bob.address(1));
    let made =
        guarded(async || signal::message_encrypt(b"hello", &address, &mut sessions, &mut identities, time(NOW), &mut random()).await);
    let ciphertext = made.expect("libsignal itself lets it pass").serialize().to_vec();
    let made = Encrypted { session: Vec::new(), form: Form::Prekey, registration_id: 1, ciphertext };
    assert_eq!(b.decrypt(&a, &made, true), Err(Refused::NotPostQuantum));
    assert_eq!(b.session, None);
}

/// The session's record with field 15 (`pq_ratchet_state`) of its current session taken out.
fn without_ratchet(record: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for (number, value) in fields(record) {
        // Field 1 is the current session.
        let value = if number == 1 {
            fields(&value).into_iter().filter(|(number, _)| *number != 15).flat_map(|(number, value)| field(number, &value)).collect()
        } else {
            value
        };
        out.extend(field(number, &value));
    }
    out
}

/// The fields of a protobuf message; those of number type are kept as they stand.
fn fields(mut bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
    fn number(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = bytes[0];
            *bytes = &bytes[1..];
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        value
    }
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let tag = number(&mut bytes);
        if tag & 7 == 2 {
            let length = usize::try_from(number(&mut bytes)).expect("a length");
            fields.push((tag >> 3, bytes[..length].to_vec()));
            bytes = &bytes[length..];
        } else {
            assert_eq!(tag & 7, 0, "only numbers and bytes stand in a record");
            let mut value = Vec::new();
            types::codec::put_number(number(&mut bytes), &mut value);
            // Marked as a number by a field number beyond all others.
            fields.push(((tag >> 3) + (1 << 32), value));
        }
    }
    fields
}

fn field(number: u64, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    if number >= 1 << 32 {
        types::codec::put_number((number - (1 << 32)) << 3, &mut out);
    } else {
        types::codec::put_number(number << 3 | 2, &mut out);
        types::codec::put_number(value.len() as u64, &mut out);
    }
    out.extend_from_slice(value);
    out
}

#[test]
fn a_panic_in_the_library_is_an_error() {
    let panicking = guarded::<()>(async || panic!("as a damaged record might"));
    assert_eq!(panicking, Err(Refused::Panicked));
}
