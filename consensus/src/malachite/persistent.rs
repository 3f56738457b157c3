//! Whom the engine stays connected to, as that changes while it runs.

use std::collections::BTreeSet;
use std::time::Duration;

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use malachite::NetworkRequest;
use malachite::app::engine::network::PersistentPeerError;
use tokio::sync::{mpsc, watch};

/// What the engine's network could not do at once is tried again after this.
const AGAIN: Duration = Duration::from_secs(1);

/// Hands over whom to stay connected to, beside those that were `named` at the start, until the engine or who
/// says so ends.
pub(super) async fn follow(mut wanted: watch::Receiver<Vec<Multiaddr>>, named: Vec<Multiaddr>, engine: mpsc::Sender<NetworkRequest>) {
    let mut told = BTreeSet::new();
    loop {
        let now: BTreeSet<Multiaddr> = wanted.borrow_and_update().iter().filter(|address| !stands(&named, address)).cloned().collect();
        let mut left = false;
        for gone in told.difference(&now).cloned().collect::<Vec<_>>() {
            match NetworkRequest::remove_persistent_peer(&engine, gone.clone()).await {
                Ok(Ok(()) | Err(PersistentPeerError::NotFound)) => {
                    tracing::info!(peer = %gone, "validates no longer, or elsewhere");
                    told.remove(&gone);
                }
                _ => left = true,
            }
        }
        for new in now.difference(&told).cloned().collect::<Vec<_>>() {
            match NetworkRequest::add_persistent_peer(&engine, new.clone()).await {
                Ok(Ok(()) | Err(PersistentPeerError::AlreadyExists)) => {
                    tracing::info!(peer = %new, "a validator to stay connected to");
                    told.insert(new);
                }
                _ => left = true,
            }
        }
        let changed =
            async { if left { tokio::time::timeout(AGAIN, wanted.changed()).await.unwrap_or(Ok(())) } else { wanted.changed().await } };
        tokio::select! {
            () = engine.closed() => return,
            changed = changed => if changed.is_err() { return },
        }
    }
}

/// Whether an address was named, with its peer id or without.
fn stands(named: &[Multiaddr], address: &Multiaddr) -> bool {
    named.iter().any(|other| place(other) == place(address))
}

fn place(address: &Multiaddr) -> Vec<Protocol<'_>> {
    address.iter().filter(|part| !matches!(part, Protocol::P2p(_))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().expect("a multiaddress")
    }

    /// What the engine is asked next, answered as given.
    async fn next(requests: &mut mpsc::Receiver<NetworkRequest>, answer: Result<(), PersistentPeerError>) -> String {
        let request = tokio::time::timeout(Duration::from_secs(20), requests.recv()).await.expect("in time").expect("a request");
        let NetworkRequest::UpdatePersistentPeers(change, reply) = request else { panic!("another request") };
        let _ = reply.send(answer);
        format!("{change:?}")
    }

    #[tokio::test]
    async fn the_engine_hears_of_who_comes_and_who_goes() {
        const ID: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
        let named = vec![address("/ip4/127.0.0.1/tcp/1")];
        let (say, wanted) = watch::channel(vec![address(&format!("/ip4/127.0.0.1/tcp/1/p2p/{ID}")), address("/ip4/127.0.0.1/tcp/2")]);
        let (engine, mut requests) = mpsc::channel(8);
        let following = tokio::spawn(follow(wanted, named, engine));
        assert_eq!(next(&mut requests, Err(PersistentPeerError::NetworkStopped)).await, "Add(/ip4/127.0.0.1/tcp/2)");
        assert_eq!(next(&mut requests, Ok(())).await, "Add(/ip4/127.0.0.1/tcp/2)", "what failed is tried again");
        say.send(vec![address("/ip4/127.0.0.1/tcp/3")]).expect("it listens");
        assert_eq!(next(&mut requests, Ok(())).await, "Remove(/ip4/127.0.0.1/tcp/2)");
        assert_eq!(next(&mut requests, Ok(())).await, "Add(/ip4/127.0.0.1/tcp/3)");
        drop(requests);
        tokio::time::timeout(Duration::from_secs(20), following).await.expect("it ends with the engine").expect("no panic");
    }
}
