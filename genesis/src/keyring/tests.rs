use identity::apply;
use tempfile::TempDir;
use types::Height;

use super::*;

const UNTIL: Height = Height(50);
const NOW: Height = Height(10);

fn chain() -> ChainId {
    "zynk-test-1".parse().expect("a chain id")
}

fn step(entry: Option<&Entry>, operation: &SignedOperation) -> Entry {
    apply(entry, &chain(), NOW, operation).expect("the operation holds")
}

#[test]
fn an_identity_lives_through_its_file() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("alice.json");
    let (ring, create) = Keyring::generate(&chain(), UNTIL);
    ring.create(&path).expect("a new file");
    let mut entry = step(None, &create);

    // Added: the keys are in the file before the chain has them.
    let mut ring = Keyring::load(&path).expect("as written");
    assert!(!ring.settle(&entry).expect("in line"));
    let device = ring.begin_device();
    ring.save(&path).expect("saved");
    let mut ring = Keyring::load(&path).expect("after a crash");
    assert_eq!(ring.begin_device().key().seed(), device.key().seed(), "the same device, not one more");
    entry = step(Some(&entry), &ring.addition(&entry, &device, UNTIL));
    assert!(ring.settle(&entry).expect("in line"));
    assert_eq!(ring.devices().iter().map(|device| device.id).collect::<Vec<_>>(), [Some(1), Some(2)]);

    // Rotated: likewise.
    let old = ring.control();
    ring.begin_rotation();
    ring.save(&path).expect("saved");
    let mut ring = Keyring::load(&path).expect("after a crash");
    assert!(ring.is_rotating());
    ring.begin_rotation();
    entry = step(Some(&entry), &ring.rotation(&entry, UNTIL));
    assert!(ring.settle(&entry).expect("in line"));
    assert!(!ring.is_rotating() && ring.control() != old);

    // Rotated again, a device removed, ended.
    ring.begin_rotation();
    entry = step(Some(&entry), &ring.rotation(&entry, UNTIL));
    ring.settle(&entry).expect("in line");
    entry = step(Some(&entry), &ring.removal(&entry, 1, UNTIL));
    ring.settle(&entry).expect("in line");
    assert_eq!(ring.devices().iter().map(|device| device.id).collect::<Vec<_>>(), [Some(2)]);
    entry = step(Some(&entry), &ring.deactivation(&entry, UNTIL));
    ring.settle(&entry).expect("in line");
    assert!(entry.is_deactivated() && ring.devices().is_empty());
}

#[test]
fn an_older_copy_of_the_file_is_told_so() {
    let (mut ring, create) = Keyring::generate(&chain(), UNTIL);
    let mut older = ring.clone();
    let entry = step(None, &create);
    ring.begin_rotation();
    let entry = step(Some(&entry), &ring.rotation(&entry, UNTIL));
    assert_eq!(older.settle(&entry).expect_err("the chain has moved on").code(), 4205);
    ring.settle(&entry).expect("this one has moved along");
}

#[test]
fn a_signal_key_is_the_x25519_key_of_its_secret() {
    // RFC 7748, section 5.2: the first iteration, of 9 on the base point 9.
    let mut secret = [0; 32];
    secret[0] = 9;
    let device = DeviceSecret { signal: SignalSecret(Zeroizing::new(secret)), ..DeviceSecret::generate() };
    assert_eq!(device.signal().to_string(), "05422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079");
}
