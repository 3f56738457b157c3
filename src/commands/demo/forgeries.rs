//! A proxy rewrites what gateway and relay say, and the client catches it.

use std::time::Duration;

use ::client::contact::Mismatch;
use ::client::history::State;
use ::client::{Client, Error, Event, Passphrase, Settings};
use ::devnet::Network;
use ::mailbox::Encoding;
use identity::Did;
use serde_json::json;

use super::people::{PASSPHRASE, People};
use super::proxy::{Attack, Proxy};
use super::stage::Stage;
use crate::failure::Failure;

/// How long something may take that comes about at once.
const SOON: Duration = Duration::from_secs(20);

/// The attacks that Carol and Bob are under: their gateway's address leads to the attacker.
pub(super) async fn play(stage: &mut Stage, network: &Network, people: &People) -> Result<(), Failure> {
    let gateway = network.gateway_url().ok_or_else(|| Failure::Demo("the network has a gateway".to_owned()))?;
    let proxy = Proxy::start(gateway.clone()).await?;
    let bob: Did = people.bob.parse().map_err(|source| Failure::Argument { what: "bob", source })?;
    let trust = network.load_genesis().map_err(Failure::Run)?.trust();
    let settings = Settings { gateway: proxy.url.clone(), trust, encoding: Encoding::Cbor };
    let carol = Client::create(&stage.file("carol"), &Passphrase::new(PASSPHRASE)?, settings.clone()).await?;
    carol.register(None).await?;

    let key = ::client::signal::Own::generate().key().to_string();
    proxy.set(Attack::WrongKey { key });
    let id = carol.send(&bob, "for bob alone").await?;
    let message = carol.settle(&id, SOON).await?;
    let wrong = Mismatch::WrongKey { did: bob, device: 1 };
    stage.hold("nothing was sent to the wrong key", message.state == State::Queued && message.code == Some(wrong.code()))?;
    stage.step(&format!("attack: a wrong key for bob. Caught, and nothing was sent: {wrong}"), json!({"code": message.code}));

    proxy.set(Attack::ExtraDevice);
    let refused = carol.verify_contact(&bob).await.err();
    let extra = |error: &Error| matches!(error, Error::Contact(Mismatch::ExtraDevice { .. }));
    caught(stage, "an extra device for bob", refused, extra)?;

    proxy.set(Attack::Listens);
    stage.hold("once the attacker rests, the message leaves", carol.settle(&id, SOON).await?.state == State::Accepted)?;
    commitment(stage, &proxy, &gateway, &carol).await?;
    old_state(stage, &proxy, &carol, (&bob, &gateway), settings).await?;
    carol.close().await;
    Ok(())
}

/// Bob receives under the attacker's eyes.
async fn commitment(stage: &mut Stage, proxy: &Proxy, gateway: &str, carol: &Client) -> Result<(), Failure> {
    let carols = carol.address().await?.did;
    let bob = Client::open(&stage.file("bob"), &Passphrase::new(PASSPHRASE)?).await?.move_to(&proxy.url).await?;
    proxy.set(Attack::OtherCommitment);
    let mut connection = bob.listen().await?;
    let received = async {
        while let Some(event) = connection.next().await {
            if let Event::Message { message } = event
                && message.peer == carols
            {
                return Some(message);
            }
        }
        None
    };
    let message = tokio::time::timeout(SOON, received).await.ok().flatten();
    connection.stop().await;
    let flaw = message.and_then(|message| message.integrity).unwrap_or_default();
    stage.hold("bob's device flags the other commitment", flaw == "other_commitment")?;
    stage.step(&format!("attack: another commitment for a message. Caught by the receiver: {flaw}"), json!({"integrity": flaw}));
    // Back to his own gateway.
    bob.move_to(gateway).await?.close().await;
    Ok(())
}

/// Bob's second device joins; the attacker shows Carol the chain as it was before.
async fn old_state(
    stage: &mut Stage,
    proxy: &Proxy,
    carol: &Client,
    (did, gateway): (&Did, &str),
    settings: Settings,
) -> Result<(), Failure> {
    proxy.set(Attack::Listens);
    carol.verify_contact(did).await?;
    let (passphrase, honest) = (Passphrase::new(PASSPHRASE)?, Settings { gateway: gateway.to_owned(), ..settings });
    let bob = Client::open(&stage.file("bob"), &passphrase).await?;
    let tablet = Client::create(&stage.file("tablet"), &passphrase, honest).await?;
    bob.link_accept(&tablet.link_request(did).await?).await?;
    let device = tablet.link_finish(SOON).await?;
    bob.close().await;
    tablet.close().await;
    stage.step(&format!("bob links a tablet: device {device}"), json!({"device": device}));

    // Carol has seen it, from an honest gateway; then the attacker has her to himself again.
    let carol = carol.clone().move_to(gateway).await?;
    carol.verify_contact(did).await?;
    let carol = carol.move_to(&proxy.url).await?;
    proxy.set(Attack::OldState);
    let refused = carol.verify_contact(did).await.err();
    let older = |error: &Error| matches!(error, Error::Contact(Mismatch::Older { .. } | Mismatch::OldHeader { .. }));
    caught(stage, "an old header, true once, with the state that it proves", refused, older)
}

fn caught(stage: &mut Stage, attack: &str, refused: Option<Error>, expected: impl FnOnce(&Error) -> bool) -> Result<(), Failure> {
    match refused {
        Some(error) if expected(&error) => {
            stage.step(&format!("attack: {attack}. Caught: {error}"), json!({"code": error.code(), "reason": error.to_string()}));
            Ok(())
        }
        Some(error) => Err(Failure::Demo(format!("{attack}: refused for another reason: {error}"))),
        None => Err(Failure::Demo(format!("{attack}: it passed"))),
    }
}
