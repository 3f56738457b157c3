use rpc::relay::{Refresh, path};

use super::{Door, Mood};
use crate::chain::follower::{self, MAX_CATCH_UP};

#[tokio::test]
async fn a_device_that_is_removed_on_chain_is_signed_out() {
    let door = Door::open().await;
    let mut person = door.registered().await;
    follower::step(&door.app).await.expect("begun");
    let add = person.adding();
    door.chain.include(&add).expect("included");
    person.apply(&add);
    let second = door.signed_in(&person, 2).await;
    let first = door.signed_in(&person, 1).await;
    follower::step(&door.app).await.expect("followed");
    assert_eq!(door.get(path::SESSIONS, Some(&second.access_token)).await.code(), 0);
    let endings = door.app.auth.endings();
    door.chain.include(&person.removing(2)).expect("included");
    follower::step(&door.app).await.expect("followed");
    assert!(endings.has_changed().expect("alive"), "whoever keeps a connection open is told");
    assert_eq!(door.get(path::SESSIONS, Some(&second.access_token)).await.code(), 7014);
    assert_eq!(door.post(path::REFRESH, None, &Refresh { refresh_token: second.refresh_token }).await.code(), 7016);
    assert_eq!(door.post(path::SIGN_IN, None, &door.answer(&person, 2).await).await.code(), 7015);
    assert_eq!(door.get(path::SESSIONS, Some(&first.access_token)).await.code(), 0, "the other stays");
}

#[tokio::test]
async fn what_happened_while_the_relay_was_away_is_taken_in() {
    for (story, idle) in [("read block by block", 3), ("proven anew", usize::try_from(MAX_CATCH_UP).expect("small") + 1)] {
        let door = Door::open().await;
        let mut person = door.registered().await;
        follower::step(&door.app).await.expect("begun");
        let add = person.adding();
        door.chain.include(&add).expect("included");
        person.apply(&add);
        let tokens = door.signed_in(&person, 2).await;
        let door = door.again().await;
        door.chain.include(&person.removing(2)).expect("included");
        door.chain.idle(idle);
        assert_eq!(door.get(path::SESSIONS, Some(&tokens.access_token)).await.code(), 0, "{story}: not known yet");
        follower::step(&door.app).await.expect("followed");
        assert_eq!(door.get(path::SESSIONS, Some(&tokens.access_token)).await.code(), 7014, "{story}");
    }
}

#[tokio::test]
async fn no_block_is_passed_over_while_the_chain_is_away() {
    let door = Door::open().await;
    let mut person = door.registered().await;
    follower::step(&door.app).await.expect("begun");
    let add = person.adding();
    door.chain.include(&add).expect("included");
    door.chain.be(Mood::Away);
    assert_eq!(follower::step(&door.app).await.expect_err("nobody there").code(), 7053);
    door.chain.be(Mood::Well);
    follower::step(&door.app).await.expect("followed");
    let known = door.app.accounts.account(&person.did()).await.expect("read").expect("an account");
    assert_eq!(known.entry.devices.len(), 2);
}
