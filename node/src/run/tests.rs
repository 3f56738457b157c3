use std::cell::Cell;

use super::*;
use crate::testing::Bench;

#[tokio::test]
async fn a_peer_that_tells_any_height_does_not_silence_a_validator_for_ever() {
    let bench = Bench::new();
    bench.app.hear(u64::MAX);
    let (began, passed) = (Time::now(), Cell::new(Duration::ZERO));
    let later = |passed: Duration| began.checked_add(passed).expect("a time");
    let waiting = past_doubt(&bench.app, || (later(passed.get()), passed.get()));
    tokio::pin!(waiting);
    let mut signs_above = None;
    for second in 0..100 {
        if let std::task::Poll::Ready(height) = futures::poll!(&mut waiting) {
            signs_above = Some((second, height));
            break;
        }
        passed.set(Duration::from_secs(second));
        bench.make_block_at(later(passed.get()));
        tokio::task::yield_now().await;
    }
    // The block of second 70 is the 71st.
    assert_eq!(signs_above, Some((71, 71)));
}
