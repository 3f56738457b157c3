//! What was used up in a period, and what is forgotten.

use types::Millis;

use super::{SWEPT, Sqlite, signed, unsigned};
use crate::Error;
use crate::accounts::{Quota, TAKEN_MS};

impl Sqlite {
    pub(super) async fn count_all(&self, quotas: &[Quota], now: Millis) -> Result<Result<(), (usize, u64)>, Error> {
        let mut all = self.begin().await?;
        for (place, quota) in quotas.iter().enumerate() {
            let ends = ends(quota, now);
            let found: Option<(i64, i64)> = sqlx::query_as("SELECT ends, used FROM quotas WHERE subject = $1")
                .bind(quota.subject.0.as_slice())
                .fetch_optional(&mut *all)
                .await
                .map_err(Error::store)?;
            // What was used in a period that is over counts no more.
            let used = found.filter(|(until, _)| unsigned(*until) > now.0).map_or(0, |(_, used)| used);
            if used >= i64::from(quota.most) {
                return Ok(Err((place, ends.saturating_sub(now.0).max(1))));
            }
            sqlx::query(
                "INSERT INTO quotas (subject, ends, used) VALUES ($1, $2, $3) \
                 ON CONFLICT (subject) DO UPDATE SET ends = excluded.ends, used = excluded.used",
            )
            .bind(quota.subject.0.as_slice())
            .bind(signed(ends))
            .bind(used + 1)
            .execute(&mut *all)
            .await
            .map_err(Error::store)?;
        }
        all.commit().await.map_err(Error::store)?;
        Ok(Ok(()))
    }

    pub(super) async fn uncount_all(&self, quotas: &[Quota], now: Millis) -> Result<(), Error> {
        let mut all = self.begin().await?;
        for quota in quotas {
            sqlx::query("UPDATE quotas SET used = used - 1 WHERE subject = $1 AND ends = $2 AND used > 0")
                .bind(quota.subject.0.as_slice())
                .bind(signed(ends(quota, now)))
                .execute(&mut *all)
                .await
                .map_err(Error::store)?;
        }
        all.commit().await.map_err(Error::store)
    }

    pub(super) async fn sweep_all(&self, now: Millis) -> Result<(), Error> {
        let mut all = self.begin().await?;
        let taken = Millis(now.0.saturating_sub(TAKEN_MS));
        for (statement, until) in [
            ("DELETE FROM nonces WHERE nonce IN (SELECT nonce FROM nonces WHERE expires <= $1 LIMIT $2)", now),
            ("DELETE FROM quotas WHERE subject IN (SELECT subject FROM quotas WHERE ends <= $1 LIMIT $2)", now),
            ("DELETE FROM sessions WHERE session IN (SELECT session FROM sessions WHERE expires <= $1 LIMIT $2)", now),
            ("DELETE FROM invitations WHERE code IN (SELECT code FROM invitations WHERE expires <= $1 LIMIT $2)", now),
            // An ended session is of no use once no access token of it can be good, which is long before.
            ("DELETE FROM sessions WHERE session IN (SELECT session FROM sessions WHERE ended <= $1 LIMIT $2)", before(now, DAY_MS)),
            (
                "DELETE FROM one_time_keys WHERE (did, device, kind, id) IN \
                 (SELECT did, device, kind, id FROM one_time_keys WHERE taken <= $1 LIMIT $2)",
                taken,
            ),
        ] {
            sqlx::query(statement).bind(signed(until.0)).bind(SWEPT).execute(&mut *all).await.map_err(Error::store)?;
        }
        all.commit().await.map_err(Error::store)
    }
}

const DAY_MS: u64 = 24 * 3_600 * 1_000;

fn before(now: Millis, by: u64) -> Millis {
    Millis(now.0.saturating_sub(by))
}

/// When the period ends that `now` is in.
fn ends(quota: &Quota, now: Millis) -> u64 {
    let period = quota.period_ms.max(1);
    (now.0 / period + 1).saturating_mul(period)
}
