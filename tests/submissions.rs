//! What the relay has taken on reaches the chain once, although everything stops in between.

mod people;
mod world;

use std::time::Duration;

use devnet::Service;
use ledger::{Body, SignedTransaction};
use people::Town;
use world::{PATIENCE, until};

/// For how long a person waits who then gives up.
const IMPATIENT: Duration = Duration::from_secs(10);

/// Without anything to do, a height begins after a second, and its proposal comes at once.
const PROPOSED: Duration = Duration::from_secs(4);

fn creations(town: &Town) -> Vec<SignedTransaction> {
    let of_identities = |signed: &SignedTransaction| matches!(signed.transaction.body, Body::Identity(_));
    town.transactions().into_iter().filter(of_identities).collect()
}

#[test]
fn a_registration_outlives_relay_chain_and_the_persons_patience() {
    let mut town = Town::start();
    let (client, _tap) = town.stranger();
    // Two of four validators: no block any more, and what is proven already can still be read.
    for place in [2, 3] {
        town.running.kill(place).expect("it ran");
    }
    // The height that cannot be decided has its proposal, which a validator would keep and propose again: nothing of what comes now is in it.
    std::thread::sleep(PROPOSED);
    let given_up = town.runtime.block_on(async { tokio::time::timeout(IMPATIENT, client.register(None)).await });
    assert!(given_up.is_err(), "without blocks nobody is registered: {given_up:?}");

    // The relay dies, and so do the others: with them every mempool that had the transaction.
    town.running.kill_service(Service::Relay).expect("it ran");
    for place in [0, 1] {
        town.running.kill(place).expect("it ran");
    }
    for place in 0..4 {
        town.running.revive(place, &[]).expect("it starts");
    }
    until("there are blocks again", PATIENCE, || {
        let height = town.runtime.block_on(town.running.height(0)).ok()?;
        (height > 1).then_some(())
    });
    assert_eq!(creations(&town).len(), 0, "nobody had it but the relay");

    town.restart_relay(&[]);
    town.wait_for_relay();
    until("the relay has gone on by itself", PATIENCE, || (creations(&town).len() == 1).then_some(()));
    let registered = town.runtime.block_on(client.register(None)).expect("it is there already");
    assert_eq!(town.runtime.block_on(client.address()).expect("an address").did, registered.did);
    assert_eq!(creations(&town).len(), 1, "once, whoever asks how often");
}
