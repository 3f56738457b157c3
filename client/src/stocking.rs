//! Prekeys: published when there are none, when few are left, and when the signed one is old.

use identity::device::SuccessionProof;
use rpc::relay::{PrekeyStock, PublishPrekeys};
use types::Millis;

use crate::Error;
use crate::client::{Inner, now};
use crate::signal::prekeys::{self, BATCH, LOW, SIGNED_AGE_MS};
use crate::store::sessions::{self, New};
use crate::store::{self, outbox};

/// The name under which the store keeps the next prekey's number.
const NEXT: &str = "next_prekey";

/// The name under which the store keeps when prekeys were last taken by the relay.
pub(crate) const PUBLISHED: &str = "published";

/// The name under which the store keeps what the Signal key before this one has signed.
pub(crate) const SUCCESSION: &str = "succession";

impl Inner {
    /// A device that has just joined publishes its first prekeys, so that it can be written to before it listens. The
    /// identity stands either way: what fails here is done again by the first session.
    pub(crate) async fn begin_to_receive(&self) {
        if let Err(error) = self.keep_prekeys().await {
            tracing::warn!(code = error.code(), "the first prekeys wait for the first session");
        }
    }

    /// Asks how many prekeys are left, and publishes what is missing. The secret halves are committed before
    /// the public ones leave.
    pub(crate) async fn keep_prekeys(&self) -> Result<(), Error> {
        let device = self.device().await?;
        let login = device.login()?;
        let published: Option<Millis> = self.store.get(PUBLISHED).await?;
        let stock = match published {
            Some(_) => self.api.stock(&login).await?,
            None => PrekeyStock { one_time: 0, one_time_kyber: 0 },
        };
        let mut tx = self.store.begin().await?;
        outbox::forget_received(&mut tx, now()).await?;
        let standing = sessions::standing(&mut tx).await?;
        let old = standing.as_ref().is_none_or(|(_, _, made)| now().0.saturating_sub(made.0) > SIGNED_AGE_MS);
        if published.is_some() && !old && stock.one_time >= LOW && stock.one_time_kyber >= LOW {
            return Ok(tx.commit().await?);
        }
        let mut id: u32 = store::get(&mut tx, NEXT).await?.unwrap_or(1);
        let mut next = || {
            let this = id;
            // Signal's numbers have 24 bits.
            id = if id >= 0xff_ffff { 1 } else { id + 1 };
            this
        };
        let (now, mut new) = (now(), Vec::new());
        let (signed_prekey, last_resort_kyber) = match standing.filter(|_| !old) {
            Some((signed, last, _)) => (prekeys::public_signed(&signed)?, prekeys::public_kyber(&last)?),
            None => {
                let (signed, last) = (prekeys::signed(&device.signal, next(), now)?, prekeys::kyber(&device.signal, next(), now)?);
                new.extend([New::Signed(signed.public.id, signed.record), New::LastResort(last.public.id, last.record)]);
                (signed.public, last.public)
            }
        };
        let (mut one_time, mut one_time_kyber) = (Vec::new(), Vec::new());
        for _ in stock.one_time.min(BATCH)..BATCH {
            let made = prekeys::one_time(next())?;
            new.push(New::OneTime(made.public.id, made.record));
            one_time.push(made.public);
        }
        for _ in stock.one_time_kyber.min(BATCH)..BATCH {
            let made = prekeys::kyber(&device.signal, next(), now)?;
            new.push(New::Kyber(made.public.id, made.record));
            one_time_kyber.push(made.public);
        }
        sessions::put_prekeys(&mut tx, &new, now).await?;
        store::put(&mut tx, NEXT, &id).await?;
        let succession: Option<SuccessionProof> = store::get(&mut tx, SUCCESSION).await?;
        tx.commit().await?;
        let publish = PublishPrekeys {
            registration_id: device.signal.registration_id,
            identity_key: device.signal.key(),
            possession: device.possession(&self.chain_id)?.into(),
            succession: succession.map(|signature| signature.to_vec().into()),
            signed_prekey,
            last_resort_kyber,
            one_time,
            one_time_kyber,
        };
        self.api.publish(&login, &publish).await?;
        self.store.put(PUBLISHED, &now).await
    }
}
