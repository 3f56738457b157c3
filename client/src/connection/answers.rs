//! What the relay's answers do to the outbox.

use std::time::Duration;

use mailbox::ClientFrame;
use mailbox::frame::{AcceptedItem, Kind, Refusal, Refused};
use mailbox::wire::{self, Encoding};
use types::Millis;
use uuid::Uuid;

use super::RETRY_MS;
use crate::Error;
use crate::client::{Inner, now};
use crate::event::Event;
use crate::history::State;
use crate::store::{messages, outbox};

/// After how many refusals over the devices a message waits.
const MAX_ANEW: u32 = 4;

/// After how many tries nobody is told any more that their message was delivered or read.
const MAX_RECEIPT_TRIES: u32 = 100;

/// How long a message waits first whose relay or node is away for a moment; twice as long each time.
const FIRST_RETRY_MS: u64 = 250;

/// Whether somebody was merely not to be reached, or had too much to do: no news for a person.
const fn is_away(error: &Error) -> bool {
    match error {
        Error::Unreachable { .. } | Error::Timeout { .. } => true,
        Error::Relay { status, .. } => *status == 429 || *status >= 500,
        Error::Chain(error) => matches!(error, rpc::Error::Unreachable { .. }),
        _ => false,
    }
}

impl Inner {
    /// The relay has a message on disk.
    pub(crate) async fn accepted(&self, item: &AcceptedItem) -> Result<(), Error> {
        let mut tx = self.store.begin().await?;
        // Answered twice, or not this device's: nothing to do.
        let Some(frame) = outbox::take(&mut tx, &item.message_id).await? else { return Ok(()) };
        let submission = frame.and_then(|frame| match wire::decode_client(Encoding::Cbor, &frame) {
            Ok(ClientFrame::Send(submission)) => Some(submission),
            _ => None,
        });
        let mut events = Vec::new();
        if let Some(submission) = submission {
            messages::set_state(&mut tx, &item.message_id, State::Accepted, None).await?;
            match &item.envelope {
                Some(seen) => {
                    // A message that was sent again under its id may have been taken with the first ciphertexts.
                    if seen.ciphertext != submission.ciphertext_hash() {
                        events.push(Event::OtherAccepted { message_id: item.message_id });
                    }
                    let envelope = audit::Envelope { ciphertext: seen.ciphertext, received: seen.received, size_class: seen.size_class };
                    let part = audit::EnvelopePart::Opened { salt: seen.salt.0, envelope };
                    messages::set_envelope(&mut tx, &item.message_id, &part).await?;
                }
                None => return Err(Error::Answer { what: "a message", fault: "accepted without its envelope" }),
            }
            events.push(Event::Accepted { message_id: item.message_id });
        }
        tx.commit().await?;
        events.into_iter().for_each(|event| self.tell(event));
        Ok(())
    }

    /// The relay did not take a message. Returns how long nothing should be sent.
    pub(super) async fn refused(&self, refused: &Refused) -> Result<Option<Duration>, Error> {
        let (id, refusal) = (&refused.message_id, &refused.refusal);
        let mut tx = self.store.begin().await?;
        let wait = |ms: u64| Millis(now().0.saturating_add(ms));
        let hold = match refusal {
            Refusal::Devices { did, stale, .. } => {
                let attempts = outbox::attempts(&mut tx, id).await?;
                let until = if attempts < MAX_ANEW { now() } else { wait(RETRY_MS) };
                outbox::hold(&mut tx, id, until, true).await?;
                let told = attempts >= MAX_ANEW
                    && messages::set_state(&mut tx, id, State::Queued, Some((refusal.code(), &refusal.to_string()))).await?;
                tx.commit().await?;
                if told {
                    self.tell(Event::Waiting { message_id: *id, code: refusal.code(), reason: refusal.to_string() });
                }
                self.look_again(did, stale).await?;
                return Ok(None);
            }
            Refusal::TooMany { retry_after_ms } => {
                outbox::hold(&mut tx, id, wait(*retry_after_ms), false).await?;
                Some(Duration::from_millis((*retry_after_ms).min(RETRY_MS)))
            }
            Refusal::Unavailable => {
                outbox::hold(&mut tx, id, wait(1000), false).await?;
                Some(Duration::from_secs(1))
            }
            Refusal::Full { .. } | Refusal::NoDevices { .. } => {
                outbox::hold(&mut tx, id, wait(RETRY_MS), false).await?;
                let shown = messages::set_state(&mut tx, id, State::Queued, Some((refusal.code(), &refusal.to_string()))).await?;
                tx.commit().await?;
                if shown {
                    self.tell(Event::Waiting { message_id: *id, code: refusal.code(), reason: refusal.to_string() });
                }
                return Ok(None);
            }
            Refusal::NoAccount { .. } | Refusal::Malformed { .. } | Refusal::IdReused => {
                tx.commit().await?;
                self.give_up(id, refusal.code(), &refusal.to_string()).await?;
                return Ok(None);
            }
        };
        tx.commit().await?;
        Ok(hold)
    }

    /// A message cannot be sent now. What will not pass is told with the message; it is tried again all the same.
    pub(super) async fn wait(&self, item: &outbox::Item, error: &Error) -> Result<(), Error> {
        let (id, code, reason) = (&item.message_id, error.code(), error.to_string());
        if matches!(error, Error::TooLarge { .. }) {
            return self.give_up(id, code, &reason).await;
        }
        let mut tx = self.store.begin().await?;
        let receipt = item.content.kind() != Kind::Message;
        if receipt && outbox::attempts(&mut tx, id).await? >= MAX_RECEIPT_TRIES {
            outbox::take(&mut tx, id).await?;
            return Ok(tx.commit().await?);
        }
        if is_away(error) {
            let tried = outbox::attempts(&mut tx, id).await?;
            let wait = FIRST_RETRY_MS.checked_shl(tried).map_or(RETRY_MS, |wait| wait.min(RETRY_MS));
            outbox::hold(&mut tx, id, Millis(now().0 + wait), false).await?;
            return Ok(tx.commit().await?);
        }
        outbox::hold(&mut tx, id, Millis(now().0 + RETRY_MS), false).await?;
        let shown = messages::set_state(&mut tx, id, State::Queued, Some((code, &reason))).await?;
        tx.commit().await?;
        if shown {
            self.tell(Event::Waiting { message_id: *id, code, reason });
        }
        Ok(())
    }

    /// A message that waits is tried at once, and what was in its way is forgotten.
    pub(super) async fn hurry(&self, id: &Uuid) -> Result<(), Error> {
        let mut tx = self.store.begin().await?;
        if outbox::hurry(&mut tx, id).await? {
            messages::set_state(&mut tx, id, State::Queued, None).await?;
        }
        Ok(tx.commit().await?)
    }

    /// A message will not be sent.
    async fn give_up(&self, id: &Uuid, code: u32, reason: &str) -> Result<(), Error> {
        let mut tx = self.store.begin().await?;
        outbox::take(&mut tx, id).await?;
        let shown = messages::set_state(&mut tx, id, State::Refused, Some((code, reason))).await?;
        tx.commit().await?;
        if shown {
            self.tell(Event::Refused { message_id: *id, code, reason: reason.to_owned() });
        }
        Ok(())
    }
}
