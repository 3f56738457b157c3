//! Sessions and their refresh tokens.

use identity::Did;
use mailbox::Address;
use rpc::relay::Session;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, Sqlite as Db, Transaction};
use types::{Hash, Millis};

use super::{Sqlite, account, bytes, number, signed};
use crate::Error;
use crate::accounts::{MAX_SESSIONS, MAX_USED_TOKENS, NewSession, Opened, Rotation, SessionId};

impl Sqlite {
    pub(super) async fn insert_session(&self, new: &NewSession) -> Result<Opened, Error> {
        let Address { did, device } = new.address;
        let mut all = self.begin().await?;
        let fresh = sqlx::query("INSERT INTO nonces (nonce, expires) VALUES ($1, $2) ON CONFLICT (nonce) DO NOTHING")
            .bind(new.nonce.0.as_slice())
            .bind(signed(new.nonce_expires.0))
            .execute(&mut *all)
            .await
            .map_err(Error::store)?;
        if fresh.rows_affected() == 0 {
            return Ok(Opened::Replayed);
        }
        // Asked here: the device may have been removed since its signature was checked.
        let known = account(&mut *all, &did).await?;
        if known.is_none_or(|known| known.entry.device(device).is_none_or(|found| found.key != new.key)) {
            return Ok(Opened::NoDevice);
        }
        let older =
            sqlx::query("SELECT session FROM sessions WHERE did = $1 AND device = $2 AND ended IS NULL ORDER BY opened DESC, session")
                .bind(did.0.as_slice())
                .bind(i64::from(device))
                .fetch_all(&mut *all)
                .await
                .map_err(Error::store)?;
        let mut ended = Vec::new();
        for row in older.iter().skip(MAX_SESSIONS as usize - 1) {
            let session: SessionId = bytes(row, "session")?;
            end(&mut all, &session, new.now).await?;
            ended.push(session);
        }
        sqlx::query("INSERT INTO sessions (session, did, device, opened, refreshed, expires) VALUES ($1, $2, $3, $4, $4, $5)")
            .bind(new.id.as_slice())
            .bind(did.0.as_slice())
            .bind(i64::from(device))
            .bind(signed(new.now.0))
            .bind(signed(new.expires.0))
            .execute(&mut *all)
            .await
            .map_err(Error::store)?;
        insert_token(&mut all, &new.refresh, &new.id, 1).await?;
        all.commit().await.map_err(Error::store)?;
        Ok(Opened::Yes(ended))
    }

    pub(super) async fn rotate_token(&self, used: &Hash, next: &Hash, now: Millis, expires: Millis) -> Result<Rotation, Error> {
        let mut all = self.begin().await?;
        let found = sqlx::query(
            "SELECT s.session, s.did, s.device, s.expires, s.ended, t.number, t.used \
             FROM refresh_tokens t JOIN sessions s ON s.session = t.session WHERE t.token = $1",
        )
        .bind(used.0.as_slice())
        .fetch_optional(&mut *all)
        .await
        .map_err(Error::store)?;
        let Some(row) = found else { return Ok(Rotation::Unknown) };
        let session: SessionId = bytes(&row, "session")?;
        let was_ended: Option<i64> = row.try_get("ended").map_err(Error::store)?;
        let was_used: Option<i64> = row.try_get("used").map_err(Error::store)?;
        if was_ended.is_some() || number::<i64>(&row, "expires")? <= signed(now.0) {
            return Ok(Rotation::Unknown);
        }
        if was_used.is_some() {
            end(&mut all, &session, now).await?;
            all.commit().await.map_err(Error::store)?;
            return Ok(Rotation::Reused(session));
        }
        let place: i64 = number(&row, "number")?;
        for statement in [
            "UPDATE refresh_tokens SET used = $2 WHERE session = $1 AND used IS NULL",
            "UPDATE sessions SET refreshed = $2 WHERE session = $1",
        ] {
            let query = sqlx::query(statement).bind(session.as_slice()).bind(signed(now.0));
            query.execute(&mut *all).await.map_err(Error::store)?;
        }
        sqlx::query("UPDATE sessions SET expires = $2 WHERE session = $1")
            .bind(session.as_slice())
            .bind(signed(expires.0))
            .execute(&mut *all)
            .await
            .map_err(Error::store)?;
        insert_token(&mut all, next, &session, place + 1).await?;
        sqlx::query("DELETE FROM refresh_tokens WHERE session = $1 AND number <= $2")
            .bind(session.as_slice())
            .bind(place - i64::from(MAX_USED_TOKENS))
            .execute(&mut *all)
            .await
            .map_err(Error::store)?;
        all.commit().await.map_err(Error::store)?;
        let address = Address { did: Did(bytes(&row, "did")?), device: number(&row, "device")? };
        Ok(Rotation::Next { address, session })
    }

    pub(super) async fn read_sessions(&self, did: &Did, now: Millis) -> Result<Vec<Session>, Error> {
        let rows = sqlx::query(
            "SELECT device, opened, refreshed FROM sessions WHERE did = $1 AND ended IS NULL AND expires > $2 ORDER BY opened DESC, device",
        )
        .bind(did.0.as_slice())
        .bind(signed(now.0))
        .fetch_all(&self.readers)
        .await
        .map_err(Error::store)?;
        let session = |row: &SqliteRow| {
            let time = |column| number(row, column).map(Millis);
            Ok(Session { device: number(row, "device")?, opened: time("opened")?, refreshed: time("refreshed")? })
        };
        rows.iter().map(session).collect()
    }

    pub(super) async fn read_ended(&self, since: Millis, most: u32) -> Result<Vec<(SessionId, Millis)>, Error> {
        let rows = sqlx::query("SELECT session, ended FROM sessions WHERE ended >= $1 ORDER BY ended DESC LIMIT $2")
            .bind(signed(since.0))
            .bind(most)
            .fetch_all(&self.readers)
            .await
            .map_err(Error::store)?;
        rows.iter().map(|row| Ok((bytes(row, "session")?, Millis(number(row, "ended")?)))).collect()
    }
}

async fn end(all: &mut Transaction<'_, Db>, session: &SessionId, now: Millis) -> Result<(), Error> {
    sqlx::query("UPDATE sessions SET ended = $2 WHERE session = $1 AND ended IS NULL")
        .bind(session.as_slice())
        .bind(signed(now.0))
        .execute(&mut **all)
        .await
        .map_err(Error::store)
        .map(drop)
}

async fn insert_token(all: &mut Transaction<'_, Db>, token: &Hash, session: &SessionId, place: i64) -> Result<(), Error> {
    sqlx::query("INSERT INTO refresh_tokens (token, session, number) VALUES ($1, $2, $3)")
        .bind(token.0.as_slice())
        .bind(session.as_slice())
        .bind(place)
        .execute(&mut **all)
        .await
        .map_err(Error::store)
        .map(drop)
}
