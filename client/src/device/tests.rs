use identity::apply;

use super::*;
use crate::fixture::chain;

const NOW: Height = Height(100);
const UNTIL: Height = Height(200);

fn apply_to(entry: Option<&Entry>, operation: &SignedOperation) -> Result<Entry, identity::Error> {
    apply(entry, &chain(), NOW, operation)
}

/// An identity out of a kit, and its first device.
fn created(kit: &RecoveryKit) -> (Did, Entry, Device) {
    let mut device = Device::generate(Stage::Joining(Did([0; 32])));
    let operation = creation(&chain(), kit, &device.key, device.signal.key(), UNTIL).expect("a creation");
    let entry = apply_to(None, &operation).expect("the chain takes it");
    let id = device.id_in(&entry).expect("the device is in it");
    device.stage = Stage::Member(Address { did: operation.did, device: id });
    device.control = Some(kit.control(0));
    (operation.did, entry, device)
}

#[test]
fn a_life_with_a_kit() {
    let (chain, kit) = (chain(), RecoveryKit::generate());
    let (did, entry, phone) = created(&kit);
    assert_eq!((kit.in_force(&entry), kit.committed(&entry)), (Some(0), Some(1)));
    let control = phone.control.as_ref().expect("the first device has it");

    // Another device joins by the code that it shows.
    let laptop = Device::generate(Stage::Joining(did));
    let code: LinkCode = LinkCode::new(&chain, &did, &entry, &laptop).to_string().parse().expect("a code");
    let linked = apply_to(Some(&entry), &code.addition(&chain, &entry, control, UNTIL).expect("an addition")).expect("the chain takes it");
    assert_eq!(laptop.id_in(&linked), Some(2));
    assert!(matches!(code.addition(&chain, &linked, control, UNTIL), Err(Error::LinkCodeOld)));

    // The phone is stolen: the words alone take the identity back, and the thief's key counts no more.
    assert_eq!(RecoveryKit::generate().committed(&linked), None);
    let taken = apply_to(Some(&linked), &rotation(&chain, &did, &linked, &kit, 1, UNTIL).expect("a rotation")).expect("the chain takes it");
    assert_eq!((kit.in_force(&taken), kit.committed(&taken)), (Some(1), Some(2)));
    let thief = Device::generate(Stage::Joining(did));
    let stolen = LinkCode::new(&chain, &did, &taken, &thief).addition(&chain, &taken, control, UNTIL).expect("made");
    assert!(apply_to(Some(&taken), &stolen).is_err(), "the stolen key adds no device");
    let mine = LinkCode::new(&chain, &did, &taken, &thief).addition(&chain, &taken, &kit.control(1), UNTIL).expect("made");
    apply_to(Some(&taken), &mine).expect("the kit's next key does");
}

#[test]
fn a_link_code_is_read_as_it_was_shown_or_not_at_all() {
    let (did, entry, _) = created(&RecoveryKit::generate());
    let device = Device::generate(Stage::Joining(did));
    let code = LinkCode::new(&chain(), &did, &entry, &device);
    let shown = code.to_string();
    assert_eq!(format!(" {shown}\n").parse::<LinkCode>().expect("with white space around it"), code);
    for wrong in ["", "zynk-link:", "zynk-link:00", &shown[1..], &shown[..shown.len() - 2], &format!("{shown}00")] {
        assert!(matches!(wrong.parse::<LinkCode>(), Err(Error::LinkCode)), "{wrong}");
    }
}

#[test]
fn a_device_is_kept_whole() {
    let (did, _, device) = created(&RecoveryKit::generate());
    for kept in [device, Device::generate(Stage::Joining(did))] {
        let read = Device::from_bytes(&kept.to_bytes()).expect("as written");
        assert_eq!((read.key.public(), read.signal.key(), read.stage.clone()), (kept.key.public(), kept.signal.key(), kept.stage.clone()));
        assert_eq!(read.signal.registration_id, kept.signal.registration_id);
        assert_eq!(read.control.map(|key| key.public()), kept.control.map(|key| key.public()));
        assert_eq!(read.signal.to_bytes(), kept.signal.to_bytes());
    }
}
