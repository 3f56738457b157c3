//! What is said at the end of an engine.

use malachite::app::types::core::{NilOrVal, Round, VoteType};
use types::Hash;

use super::*;
use crate::malachite::context::{BlockHash, Height, Vote};

fn signer(folder: &tempfile::TempDir) -> GuardedSigner {
    let key = SigningKey::from_seed(&[1; 32]);
    let (guard, _) = Guard::open(&folder.path().join("guard"), key.public()).expect("a guard");
    let log = folder.path().join("log");
    std::fs::write(&log, []).expect("a file");
    GuardedSigner::new("zynk-test-1".try_into().expect("a name"), key, Arc::new(Mutex::new(guard)), Arc::new(log))
}

fn vote(hash: u8) -> Vote {
    let (height, round, value) = (Height(7), Round::new(0), NilOrVal::Val(BlockHash(Hash([hash; 32]))));
    Vote { kind: VoteType::Prevote, height, round, value, voter: Address(account::Id::new([0; 20])), extension: None }
}

/// What is said at last of an engine that ended for these reasons.
fn said(signer: &GuardedSigner, reasons: impl IntoIterator<Item = Stopped>) -> String {
    let end = End { reason: watch::Sender::default(), signer: Some(signer.clone()) };
    for reason in reasons {
        end.finish(reason);
    }
    end.reason.borrow().as_ref().expect("a reason").to_string()
}

#[tokio::test]
async fn a_refused_signature_is_the_reason_of_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let signer = signer(&folder);
    let gone = || Stopped::Driver(DriverError::EngineGone);
    assert!(signer.sign_vote(vote(1)).await.is_ok() && signer.sign_vote(vote(1)).await.is_ok(), "the same again");
    assert_eq!(said(&signer, [gone(), Stopped::Ended]), "the consensus engine has stopped", "nothing was refused");

    assert!(signer.sign_vote(vote(2)).await.is_err());
    let refused =
        "the consensus engine has stopped because a signature was refused: refused to sign a second, different Prevote at height 7 round 0";
    assert_eq!(said(&signer, [gone(), Stopped::Ended]), refused);
    assert_eq!(said(&signer, [Stopped::Ended]), refused, "also where the driver's thread has panicked");
    let missing = || Stopped::Driver(DriverError::Missing { height: 7, hash: Hash::ZERO });
    assert_eq!(said(&signer, [missing(), gone()]), missing().to_string(), "what is a reason of its own stands");
}

#[tokio::test]
async fn nothing_is_signed_when_what_led_to_a_vote_cannot_be_made_durable() {
    let folder = tempfile::tempdir().expect("a folder");
    let signer = signer(&folder);
    std::fs::remove_file(folder.path().join("log")).expect("the log is there");
    signer.sign_vote(vote(1)).await.expect_err("no log, no vote");
    assert!(signer.refusal().is_some_and(|refusal| refusal.contains("log could not be synced")), "{:?}", signer.refusal());
    std::fs::write(folder.path().join("log"), []).expect("a file");
    signer.sign_vote(vote(2)).await.expect("the guard was not asked before");
}
