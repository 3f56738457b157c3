//! Gossipsub's score, of which one part is used: invalid messages. A topic counts those that a peer handed over, and takes
//! the square of the count, so that a slip costs nothing and a stream of them everything.
//!
//! Source: gossipsub v1.1, "Peer Scoring"; P4 there. The parts that reward activity are off: they would favour whoever sends
//! much. So is the one against many peers at one address: `doors` counts those.

use std::collections::HashMap;
use std::time::Duration;

use libp2p::gossipsub::{PeerScoreParams, PeerScoreThresholds, TopicHash, TopicScoreParams};

/// Five invalid messages on one topic ban.
const INVALID: f64 = -4.0;
/// What is left of a count after a second.
const LEFT: f64 = 0.99;

/// How messages on these topics are scored.
pub(super) fn params(topics: impl IntoIterator<Item = TopicHash>) -> PeerScoreParams {
    let topic = TopicScoreParams {
        topic_weight: 1.0,
        time_in_mesh_weight: 0.0,
        first_message_deliveries_weight: 0.0,
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: INVALID,
        invalid_message_deliveries_decay: LEFT,
        ..TopicScoreParams::default()
    };
    PeerScoreParams {
        topics: topics.into_iter().map(|name| (name, topic.clone())).collect::<HashMap<_, _>>(),
        topic_score_cap: 0.0,
        app_specific_weight: 0.0,
        ip_colocation_factor_weight: 0.0,
        behaviour_penalty_weight: 0.0,
        slow_peer_weight: 0.0,
        decay_interval: Duration::from_secs(1),
        retain_score: Duration::from_secs(600),
        ..PeerScoreParams::default()
    }
}

/// From which score on a peer is left out of what.
pub(super) fn thresholds() -> PeerScoreThresholds {
    PeerScoreThresholds { gossip_threshold: -10.0, publish_threshold: -40.0, graylist_threshold: -80.0, ..PeerScoreThresholds::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gossipsub_takes_the_numbers() {
        let name = libp2p::gossipsub::IdentTopic::new("one").hash();
        assert_eq!(params([name]).validate(), Ok(()));
        assert_eq!(thresholds().validate(), Ok(()));
    }
}
