//! Identities with an account, and what follows from a newer entry.

use std::collections::BTreeMap;

use identity::Did;
use mailbox::intake::Devices;
use types::{Encode as _, Millis};

use super::{Sqlite, account, bytes, number, signed};
use crate::Error;
use crate::accounts::{Known, PAGE, SessionId};

impl Sqlite {
    /// `new`: whether an account is made if there is none.
    pub(super) async fn replace(&self, did: &Did, known: &Known, new: bool, now: Millis) -> Result<Vec<SessionId>, Error> {
        let mut all = self.begin().await?;
        if new {
            sqlx::query("INSERT INTO accounts (did, entry, height, registered) VALUES ($1, $2, $3, $4) ON CONFLICT (did) DO NOTHING")
                .bind(did.0.as_slice())
                .bind(known.entry.to_bytes())
                .bind(signed(known.height.0))
                .bind(signed(now.0))
                .execute(&mut *all)
                .await
                .map_err(Error::store)?;
        }
        let replaced = sqlx::query("UPDATE accounts SET entry = $2, height = $3 WHERE did = $1 AND height <= $3")
            .bind(did.0.as_slice())
            .bind(known.entry.to_bytes())
            .bind(signed(known.height.0))
            .execute(&mut *all)
            .await
            .map_err(Error::store)?;
        if replaced.rows_affected() == 0 {
            return Ok(Vec::new());
        }
        let open = sqlx::query("SELECT session, device FROM sessions WHERE did = $1 AND ended IS NULL")
            .bind(did.0.as_slice())
            .fetch_all(&mut *all)
            .await
            .map_err(Error::store)?;
        let mut ended = Vec::new();
        for row in &open {
            if known.entry.device(number(row, "device")?).is_none() {
                let session: SessionId = bytes(row, "session")?;
                sqlx::query("UPDATE sessions SET ended = $2 WHERE session = $1")
                    .bind(session.as_slice())
                    .bind(signed(now.0))
                    .execute(&mut *all)
                    .await
                    .map_err(Error::store)?;
                ended.push(session);
            }
        }
        let published = sqlx::query("SELECT device, identity_key FROM prekeys WHERE did = $1")
            .bind(did.0.as_slice())
            .fetch_all(&mut *all)
            .await
            .map_err(Error::store)?;
        for row in &published {
            let (device, key): (u16, [u8; 33]) = (number(row, "device")?, bytes(row, "identity_key")?);
            let holds = known.entry.device(device).is_some_and(|device| *device.signal.identity_key.as_bytes() == key);
            if !holds {
                sqlx::query("DELETE FROM prekeys WHERE did = $1 AND device = $2")
                    .bind(did.0.as_slice())
                    .bind(i64::from(device))
                    .execute(&mut *all)
                    .await
                    .map_err(Error::store)?;
            }
        }
        all.commit().await.map_err(Error::store)?;
        Ok(ended)
    }

    pub(super) async fn read_devices(&self, did: &Did) -> Result<Option<Devices>, Error> {
        // One snapshot: prekeys under an entry that they do not belong to are not there.
        let mut all = self.readers.begin().await.map_err(Error::store)?;
        if account(&mut *all, did).await?.is_none() {
            return Ok(None);
        }
        let rows = sqlx::query("SELECT device, registration FROM prekeys WHERE did = $1")
            .bind(did.0.as_slice())
            .fetch_all(&mut *all)
            .await
            .map_err(Error::store)?;
        let device = |row| Ok((number(row, "device")?, number(row, "registration")?));
        rows.iter().map(device).collect::<Result<BTreeMap<_, _>, Error>>().map(Devices).map(Some)
    }

    pub(super) async fn read_page(&self, after: Option<Did>) -> Result<Vec<Did>, Error> {
        let query = match after {
            Some(after) => sqlx::query("SELECT did FROM accounts WHERE did > $2 ORDER BY did LIMIT $1").bind(PAGE).bind(after.0.to_vec()),
            None => sqlx::query("SELECT did FROM accounts ORDER BY did LIMIT $1").bind(PAGE),
        };
        let rows = query.fetch_all(&self.readers).await.map_err(Error::store)?;
        rows.iter().map(|row| bytes(row, "did").map(Did)).collect()
    }
}
