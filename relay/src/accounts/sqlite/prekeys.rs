//! Prekeys: taken in, and handed out.

use identity::{Did, SignalKey};
use mailbox::{Address, Bytes};
use rpc::relay::{OneTimePrekey, PrekeyBundle, PrekeyStock, PublishPrekeys, SignedPrekey};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, Sqlite as Db, SqliteConnection, Transaction};
use types::Millis;

use super::{Sqlite, account, blob, bytes, number, signed};
use crate::Error;
use crate::accounts::MAX_ONE_TIME;

/// The kinds of one-time keys, as the table has them.
const X25519: i64 = 0;
const KYBER: i64 = 1;

impl Sqlite {
    pub(super) async fn take_in(&self, of: &Address, prekeys: &PublishPrekeys, now: Millis) -> Result<PrekeyStock, Error> {
        let mut all = self.begin().await?;
        let known = account(&mut *all, &of.did).await?.ok_or(Error::NoAccount)?;
        if known.entry.device(of.device).is_none_or(|device| device.signal.identity_key != prekeys.identity_key) {
            return Err(Error::WrongIdentityKey);
        }
        // A device that was set up anew has lost the private halves of what it had left here.
        sqlx::query("DELETE FROM prekeys WHERE did = $1 AND device = $2 AND (registration <> $3 OR identity_key <> $4)")
            .bind(of.did.0.as_slice())
            .bind(i64::from(of.device))
            .bind(prekeys.registration_id)
            .bind(prekeys.identity_key.as_bytes().as_slice())
            .execute(&mut *all)
            .await
            .map_err(Error::store)?;
        replace(&mut all, of, prekeys, now).await?;
        for key in &prekeys.one_time {
            add(&mut all, of, X25519, key.id, &key.key, &[]).await?;
        }
        for key in &prekeys.one_time_kyber {
            add(&mut all, of, KYBER, key.id, &key.key, &key.signature.0).await?;
        }
        let stock = stock(&mut all, of).await?.ok_or(Error::NoPrekeys)?;
        if stock.one_time > MAX_ONE_TIME || stock.one_time_kyber > MAX_ONE_TIME {
            return Err(Error::TooManyPrekeys { bound: MAX_ONE_TIME });
        }
        all.commit().await.map_err(Error::store)?;
        Ok(stock)
    }

    pub(super) async fn pick(&self, did: &Did, but: Option<u16>, now: Millis) -> Result<Option<Vec<PrekeyBundle>>, Error> {
        let mut all = self.begin().await?;
        if account(&mut *all, did).await?.is_none() {
            return Ok(None);
        }
        let rows = sqlx::query("SELECT * FROM prekeys WHERE did = $1 ORDER BY device")
            .bind(did.0.as_slice())
            .fetch_all(&mut *all)
            .await
            .map_err(Error::store)?;
        let mut bundles = Vec::new();
        for row in &rows {
            let of = Address { did: *did, device: number(row, "device")? };
            if but == Some(of.device) {
                continue;
            }
            let one_time = take(&mut all, &of, X25519, now).await?.map(|key| OneTimePrekey { id: key.id, key: key.key });
            let kyber_prekey = match take(&mut all, &of, KYBER, now).await? {
                Some(key) => key,
                None => key(row, "last_resort_id", "last_resort_key", "last_resort_by")?,
            };
            bundles.push(PrekeyBundle {
                device: of.device,
                registration_id: number(row, "registration")?,
                identity_key: SignalKey::try_from(bytes::<33>(row, "identity_key")?).map_err(Error::store)?,
                possession: Bytes(blob(row, "possession")?),
                succession: row.try_get::<Option<Vec<u8>>, _>("succession").map_err(Error::store)?.map(Bytes),
                signed_prekey: key(row, "signed_id", "signed_key", "signed_by")?,
                kyber_prekey,
                one_time,
            });
        }
        // Before anybody sees them: after a crash they are gone, not handed out twice.
        all.commit().await.map_err(Error::store)?;
        Ok(Some(bundles))
    }
}

async fn replace(all: &mut Transaction<'_, Db>, of: &Address, prekeys: &PublishPrekeys, now: Millis) -> Result<(), Error> {
    let (signed_key, last_resort) = (&prekeys.signed_prekey, &prekeys.last_resort_kyber);
    sqlx::query(
        "INSERT INTO prekeys (did, device, registration, identity_key, possession, signed_id, signed_key, signed_by, \
         last_resort_id, last_resort_key, last_resort_by, published, succession) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) \
         ON CONFLICT (did, device) DO UPDATE SET possession = excluded.possession, succession = excluded.succession, signed_id = excluded.signed_id, \
         signed_key = excluded.signed_key, signed_by = excluded.signed_by, last_resort_id = excluded.last_resort_id, \
         last_resort_key = excluded.last_resort_key, last_resort_by = excluded.last_resort_by, published = excluded.published",
    )
    .bind(of.did.0.as_slice())
    .bind(i64::from(of.device))
    .bind(prekeys.registration_id)
    .bind(prekeys.identity_key.as_bytes().as_slice())
    .bind(prekeys.possession.as_ref())
    .bind(signed_key.id)
    .bind(signed_key.key.as_ref())
    .bind(signed_key.signature.as_ref())
    .bind(last_resort.id)
    .bind(last_resort.key.as_ref())
    .bind(last_resort.signature.as_ref())
    .bind(signed(now.0))
    .bind(prekeys.succession.as_ref().map(|succession| succession.0.as_slice()))
    .execute(&mut **all)
    .await
    .map_err(Error::store)
    .map(drop)
}

/// Adds a one-time key. One whose number is there, or was handed out, is passed over: the
/// device sends it again because it did not hear of the first time.
async fn add(all: &mut Transaction<'_, Db>, of: &Address, kind: i64, id: u32, key: &Bytes, signature: &[u8]) -> Result<(), Error> {
    sqlx::query("INSERT INTO one_time_keys (did, device, kind, id, key, signature) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING")
        .bind(of.did.0.as_slice())
        .bind(i64::from(of.device))
        .bind(kind)
        .bind(id)
        .bind(key.as_ref())
        .bind(signature)
        .execute(&mut **all)
        .await
        .map_err(Error::store)
        .map(drop)
}

/// Takes the one-time key with the lowest number.
async fn take(all: &mut Transaction<'_, Db>, of: &Address, kind: i64, now: Millis) -> Result<Option<SignedPrekey>, Error> {
    let found = sqlx::query(
        "SELECT id, key, signature FROM one_time_keys WHERE did = $1 AND device = $2 AND kind = $3 AND taken IS NULL ORDER BY id LIMIT 1",
    )
    .bind(of.did.0.as_slice())
    .bind(i64::from(of.device))
    .bind(kind)
    .fetch_optional(&mut **all)
    .await
    .map_err(Error::store)?;
    let Some(row) = found else { return Ok(None) };
    let taken = key(&row, "id", "key", "signature")?;
    sqlx::query("UPDATE one_time_keys SET taken = $5, key = $6, signature = $6 WHERE did = $1 AND device = $2 AND kind = $3 AND id = $4")
        .bind(of.did.0.as_slice())
        .bind(i64::from(of.device))
        .bind(kind)
        .bind(taken.id)
        .bind(signed(now.0))
        .bind([].as_slice())
        .execute(&mut **all)
        .await
        .map_err(Error::store)?;
    Ok(Some(taken))
}

pub(super) async fn stock(by: &mut SqliteConnection, of: &Address) -> Result<Option<PrekeyStock>, Error> {
    let counted = sqlx::query(
        "SELECT (SELECT COUNT(*) FROM one_time_keys o WHERE o.did = p.did AND o.device = p.device AND o.kind = 0 AND o.taken IS NULL) AS x25519, \
         (SELECT COUNT(*) FROM one_time_keys o WHERE o.did = p.did AND o.device = p.device AND o.kind = 1 AND o.taken IS NULL) AS kyber \
         FROM prekeys p WHERE p.did = $1 AND p.device = $2",
    )
    .bind(of.did.0.as_slice())
    .bind(i64::from(of.device))
    .fetch_optional(by)
    .await
    .map_err(Error::store)?;
    let stock = |row: &SqliteRow| Ok(PrekeyStock { one_time: number(row, "x25519")?, one_time_kyber: number(row, "kyber")? });
    counted.as_ref().map(stock).transpose()
}

fn key(row: &SqliteRow, id: &str, key: &str, signature: &str) -> Result<SignedPrekey, Error> {
    Ok(SignedPrekey { id: number(row, id)?, key: Bytes(blob(row, key)?), signature: Bytes(blob(row, signature)?) })
}
