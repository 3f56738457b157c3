//! Streams of parts as they arrive, in order and not.

use types::{Decode as _, Encode as _, SigningKey};

use super::*;

const CHAIN: &str = "zynk-test-1";
const MAX: usize = 1 << 20;

fn peer(seed: u8) -> PeerId {
    let key = libp2p::identity::Keypair::ed25519_from_bytes([seed; 32]).expect("32 bytes");
    PeerId::from_bytes(&key.public().to_peer_id().to_bytes()).expect("a peer id")
}

fn body(bytes: usize) -> Bytes {
    (0..bytes).map(|at| u8::try_from(at % 251).expect("below 251")).collect::<Vec<_>>().into()
}

fn announcement(height: u64, body: &Bytes) -> Announcement {
    Announcement {
        height,
        round: 1,
        valid_round: None,
        proposer: SigningKey::from_seed(&[1; 32]).public().address().0,
        block: Hash([7; 32]),
        size: u32::try_from(body.len()).expect("a small body"),
        body: Hash(*blake3::hash(body).as_bytes()),
    }
}

fn stream(body: &Bytes, number: u64) -> Vec<StreamMessage<Part>> {
    stream_at(5, body, number)
}

fn stream_at(height: u64, body: &Bytes, number: u64) -> Vec<StreamMessage<Part>> {
    let announcement = announcement(height, body);
    let proposal = announcement.proposal().expect("small numbers");
    let signature = SigningKey::from_seed(&[1; 32]).sign(&proposal.into_signable_vec(CHAIN.try_into().expect("a name")));
    split(Init { announcement, signature }, body, number)
}

fn take(assembly: &mut Assembly, message: StreamMessage<Part>) -> Option<Bytes> {
    assembly.take(Some(peer(1)), message, MAX, |_| true).map(|assembled| assembled.body)
}

fn take_all(assembly: &mut Assembly, messages: impl IntoIterator<Item = StreamMessage<Part>>) -> Vec<Bytes> {
    messages.into_iter().filter_map(|message| take(assembly, message)).collect()
}

#[test]
fn a_block_is_taken_apart() {
    for (bytes, pieces) in [(1, 1), (PIECE_BYTES, 1), (PIECE_BYTES + 1, 2), (3 * PIECE_BYTES + 5, 4)] {
        let messages = stream(&body(bytes), 0);
        assert_eq!(messages.len(), pieces + 2, "{bytes} bytes");
        assert!(messages.iter().zip(0..).all(|(message, place)| message.sequence == place));
        let StreamContent::Data(Part::Init(init)) = &messages[0].content else { panic!("the announcement goes first") };
        let proposal = init.announcement.proposal().expect("small numbers");
        for (chain, holds) in [(CHAIN, true), ("other", false)] {
            let signed = proposal.clone().into_signable_vec(chain.try_into().expect("a name"));
            assert_eq!(SigningKey::from_seed(&[1; 32]).public().verify(&signed, &init.signature), holds, "for {chain}");
        }
        assert!(messages.last().expect("an end").content == StreamContent::Fin);
        assert_eq!(Init::from_bytes(&init.to_bytes()).as_ref(), Ok(init.as_ref()));
    }
    assert_ne!(stream(&body(9), 0)[0].stream_id, stream(&body(9), 1)[0].stream_id);
}

#[test]
fn a_stream_is_put_together_in_any_order() {
    let body = body(3 * PIECE_BYTES + 5);
    let messages = stream(&body, 0);
    let orders: [&[usize]; 5] = [&[0, 1, 2, 3, 4, 5], &[5, 4, 3, 2, 1, 0], &[1, 0, 5, 2, 4, 3], &[5, 0, 1, 2, 3, 4], &[4, 1, 3, 2, 5, 0]];
    for order in orders {
        let mut assembly = Assembly::default();
        let made = take_all(&mut assembly, order.iter().map(|place| messages[*place].clone()));
        assert_eq!(made, std::slice::from_ref(&body), "{order:?}");
        assert!(assembly.open.is_empty(), "{order:?}");
    }
}

#[test]
fn streams_do_not_mix() {
    let (first, second) = (body(PIECE_BYTES + 1), body(PIECE_BYTES + 2));
    let mut assembly = Assembly::default();
    let woven: Vec<_> = stream(&first, 0).into_iter().zip(stream(&second, 1)).flat_map(|(one, two)| [one, two]).collect();
    assert_eq!(take_all(&mut assembly, woven), [first.clone(), second]);
    // Two publishers may use one stream id; neither completes the other's.
    let messages = stream(&first, 0);
    for (message, publisher) in messages.iter().zip([1, 2, 1, 2]) {
        assert!(assembly.take(Some(peer(publisher)), message.clone(), MAX, |_| true).is_none());
    }
}

#[test]
fn streams_that_break_a_rule() {
    let body = body(2 * PIECE_BYTES);
    let check = |story: &str, bend: &dyn Fn(&mut Vec<StreamMessage<Part>>)| {
        let mut messages = stream(&body, 0);
        bend(&mut messages);
        let mut assembly = Assembly::default();
        assert!(take_all(&mut assembly, messages).is_empty(), "{story}");
        let held: usize = assembly.open.values().flatten().map(|stream| stream.held).sum();
        assert!(held <= MAX, "{story}: {held} bytes held");
    };
    fn piece(message: &mut StreamMessage<Part>) -> &mut Bytes {
        let StreamContent::Data(Part::Data(piece)) = &mut message.content else { panic!("a piece") };
        piece
    }
    fn announced(message: &mut StreamMessage<Part>) -> &mut Announcement {
        let StreamContent::Data(Part::Init(init)) = &mut message.content else { panic!("an announcement") };
        &mut init.announcement
    }
    check("no announcement", &|messages| drop(messages.remove(0)));
    check("no end", &|messages| drop(messages.pop()));
    check("a piece missing", &|messages| drop(messages.remove(1)));
    check("a piece twice", &|messages| messages.insert(2, messages[1].clone()));
    check("pieces exchanged", &|messages| (messages[1].sequence, messages[2].sequence) = (2, 1));
    check("a byte bent", &|messages| *piece(&mut messages[1]) = vec![9; PIECE_BYTES].into());
    check("an empty piece", &|messages| *piece(&mut messages[2]) = Bytes::new());
    check("a piece too large", &|messages| *piece(&mut messages[2]) = vec![0; PIECE_BYTES + 1].into());
    check("more bytes than announced", &|messages| announced(&mut messages[0]).size -= 1);
    check("fewer bytes than announced", &|messages| announced(&mut messages[0]).size += 1);
    check("another body announced", &|messages| announced(&mut messages[0]).body = Hash::ZERO);
    check("an announcement in the middle", &|messages| messages[1].content = messages[0].content.clone());
    check("an end at the beginning", &|messages| messages[0].content = StreamContent::Fin);
    check("an end that is too early", &|messages| messages[3].sequence = 2);
    check("a piece beyond the block", &|messages| messages[2].sequence = 3);
    check("many pieces of one byte", &|messages| {
        let template = messages[1].clone();
        messages.truncate(1);
        messages.extend((1..=2_000).map(|sequence| {
            let mut message = template.clone();
            message.sequence = sequence;
            *piece(&mut message) = vec![1].into();
            message
        }));
    });
}

#[test]
fn tiny_pieces_take_no_more_memory_than_the_block() {
    let mut message = stream(&body(1), 0).remove(1);
    let mut assembly = Assembly::default();
    for sequence in 1..=10_000 {
        message.sequence = sequence;
        assert_eq!(take(&mut assembly, message.clone()), None);
        let kept: usize = assembly.open.values().flatten().map(|stream| stream.pieces.len()).sum();
        assert!(kept <= MAX.div_ceil(PIECE_BYTES) * OPEN_PER_PEER);
    }
}

#[test]
fn a_refused_announcement_ends_its_stream() {
    let body = body(9);
    let mut asked = 0;
    let mut assembly = Assembly::default();
    for message in stream(&body, 0) {
        let made = assembly.take(Some(peer(1)), message, MAX, |init| {
            asked += 1;
            assert_eq!(init.announcement, announcement(5, &body));
            false
        });
        assert_eq!(made, None);
    }
    assert_eq!(asked, 1);
    // A second announcement for a stream is neither asked about nor kept.
    let mut messages = stream(&body, 0);
    messages.insert(1, stream_at(6, &body, 0).remove(0));
    messages[1].stream_id = messages[0].stream_id.clone();
    let made: Vec<_> = messages
        .into_iter()
        .filter_map(|message| assembly.take(Some(peer(1)), message, MAX, |init| init.announcement.height == 5))
        .collect();
    assert_eq!(made.len(), 1);
    assert_eq!(made[0].init.announcement.height, 5);
}

#[test]
fn open_streams_are_bounded() {
    let body = body(9);
    let mut assembly = Assembly::default();
    for number in 0..10 {
        let _ = take(&mut assembly, stream(&body, number).remove(0));
    }
    let kept: usize = assembly.open.values().map(Vec::len).sum();
    assert_eq!(kept, OPEN_PER_PEER, "a new stream displaces the oldest");
    assert!(take_all(&mut assembly, stream(&body, 9).into_iter().skip(1)).len() == 1, "the newest goes on");
    assert!(take_all(&mut assembly, stream(&body, 0).into_iter().skip(1)).is_empty(), "the oldest is gone");
    let mut assembly = Assembly::default();
    let first = stream(&body, 0);
    let _ = take(&mut assembly, first[1].clone());
    assembly.forget(0);
    assert!(assembly.open.is_empty(), "pieces without an announcement go first");
    // Made-up peers keep no place from a proposer, nor do they take one that has announced.
    for seed in 0..=u8::MAX {
        let _ = assembly.take(Some(peer(seed)), first[1].clone(), MAX, |_| true);
    }
    assert_eq!(assembly.open.len(), PEERS);
    let _ = assembly.take(None, first[0].clone(), MAX, |_| true);
    assert_eq!(assembly.open.len(), PEERS, "it displaces one that has announced nothing");
    for seed in 0..=u8::MAX {
        let _ = assembly.take(Some(peer(seed)), first[1].clone(), MAX, |_| true);
    }
    let end = first[1..].iter().find_map(|message| assembly.take(None, message.clone(), MAX, |_| true));
    assert_eq!(end.map(|assembled| assembled.body), Some(body), "and goes on");
}

/// The first message of the stream of a proposal at height 5.
fn announced_in(round: u32, body: &Bytes) -> StreamMessage<Part> {
    let mut message = stream(body, u64::from(round)).remove(0);
    let StreamContent::Data(Part::Init(init)) = &mut message.content else { panic!("the announcement goes first") };
    init.announcement.round = round;
    message
}

#[test]
fn an_announcement_said_again_by_made_up_peers_takes_no_place_of_other_turns() {
    let body = body(9);
    let mut assembly = Assembly::default();
    let open = |assembly: &Assembly, round: u32| assembly.streams().filter(|stream| stream.turn() == Some((5, round))).count();
    // Of each turn as many as there are peers, of the later ones after the earlier.
    for round in 0..40 {
        for seed in 0..=u8::MAX {
            let mut message = announced_in(round, &body);
            message.stream_id = StreamId::new(vec![seed, u8::try_from(round).expect("small")].into());
            let _ = assembly.take(Some(peer(seed.wrapping_add(u8::try_from(round * 8).unwrap_or(u8::MAX)))), message, MAX, |_| true);
        }
        assert_eq!(open(&assembly, round), OPEN_PER_TURN, "round {round}");
        assert!(assembly.open.len() <= PEERS);
    }
    // The next proposer, whom nobody has repeated yet, is heard.
    let mut messages = stream(&body, 99);
    messages[0] = announced_in(99, &body);
    messages[0].stream_id = messages[1].stream_id.clone();
    let heard = messages.into_iter().find_map(|message| assembly.take(None, message, MAX, |_| true));
    assert_eq!(heard.map(|assembled| assembled.body), Some(body));
    assembly.forget(4);
    assert!(!assembly.open.is_empty(), "streams of later heights stay");
    assembly.forget(5);
    assert!(assembly.open.is_empty());
}

#[test]
fn what_nobody_has_announced_takes_a_few_blocks_of_memory() {
    let body = body(MAX);
    let pieces = stream(&body, 0);
    let mut assembly = Assembly::default();
    let _ = assembly.take(None, pieces[0].clone(), MAX, |_| true);
    for seed in 0..64 {
        for piece in &pieces[1..pieces.len() - 1] {
            let _ = assembly.take(Some(peer(seed)), piece.clone(), MAX, |_| true);
            let held: usize = assembly.streams().map(|stream| stream.held).sum();
            assert!(held <= UNANNOUNCED * MAX, "{held} bytes held");
        }
    }
    let heard = pieces[1..].iter().find_map(|message| assembly.take(None, message.clone(), MAX, |_| true));
    assert_eq!(heard.map(|assembled| assembled.body), Some(body), "what was announced goes on");
}
