use super::*;

fn parse(text: &str) -> Result<Vec<Condition>, NoQuery> {
    Query::parse(text).map(|query| query.conditions)
}

fn condition(key: &str, test: Test) -> Condition {
    Condition { key: key.to_owned(), test }
}

#[test]
fn what_is_a_query() {
    let is = |text: &str| Test::Is(text.to_owned());
    let number = |order, text| Test::Number(order, number(text).expect("a number"));
    let moment = |order, text| Test::Moment(order, moment(text).expect("a moment"));
    let stories = [
        ("tm.event='Tx'", vec![condition("tm.event", is("Tx"))]),
        ("tm.event = 'Tx' AND tx.height>=5", vec![condition("tm.event", is("Tx")), condition("tx.height", number(Order::AtLeast, "5"))]),
        ("  a.b<1.50 AND a.b>0", vec![condition("a.b", number(Order::Less, "1.5")), condition("a.b", number(Order::More, "0"))]),
        ("a.b<=10. AND c-d_e EXISTS", vec![condition("a.b", number(Order::AtMost, "10")), condition("c-d_e", Test::Exists)]),
        ("a CONTAINS 'x AND y'", vec![condition("a", Test::Contains("x AND y".to_owned()))]),
        ("a = '\\' AND b = ''", vec![condition("a", is("\\")), condition("b", is(""))]),
        ("a > DATE 2026-01-31", vec![condition("a", moment(Order::More, "2026-01-31"))]),
        ("a = TIME 2026-01-31T01:02:03.5+01:00", vec![condition("a", moment(Order::Equal, "2026-01-31T00:02:03.5Z"))]),
        ("TIME=1", vec![condition("TIME", number(Order::Equal, "1"))]),
        ("é.ü EXISTS", vec![condition("é.ü", Test::Exists)]),
    ];
    for (text, expected) in stories {
        assert_eq!(parse(text), Ok(expected), "{text}");
    }
}

#[test]
fn what_is_none() {
    let nines = format!("a={}", "9".repeat(600));
    let stories = [
        ("", 0, "expected a key"),
        ("   ", 0, "expected a key"),
        ("a", 1, "expected =, <"),
        ("a = ", 3, "expected a text, a number"),
        ("a = b", 3, "expected a text, a number"),
        ("a = 'b", 4, "does not end"),
        ("a < 'b'", 3, "expected a number, a TIME or a DATE"),
        ("a == 1", 3, "expected a text, a number"),
        ("a != 1", 2, "no such sign"),
        ("a = -1", 4, "no such sign"),
        ("a = 1 OR b = 2", 5, "expected AND"),
        ("a = 1 and b = 2", 5, "expected AND"),
        ("a = 1 AND", 9, "expected a key"),
        ("a = 1; DROP TABLE attributes", 5, "no such sign"),
        ("a = 1 b = 2", 5, "expected AND"),
        ("a CONTAINS 5", 10, "expected a text in single quotes"),
        ("a = 1.2.3", 7, "no such sign"),
        ("(a = 1)", 0, "no such sign"),
        ("a > DATE 2026-13-31", 8, "expected a date"),
        ("a > DATE 2026-01-31T00:00:00Z", 19, "expected AND"),
        ("TIME = 1", 4, "expected a time"),
        ("a > TIME 2026-01-31", 8, "expected a time"),
        ("a > TIME  2026-01-31T00:00:00Z", 8, "expected a time"),
        ("a > DATE 1899-12-31", 8, "the year is not"),
        ("a = 'x' AND AND b = 1", 11, "expected a key"),
        ("EXISTS EXISTS", 0, "expected a key"),
        ("a EXISTS EXISTS", 8, "expected AND"),
        ("a = \u{0}", 4, "no such sign"),
    ];
    for (text, offset, words) in stories {
        match parse(text) {
            Err(NoQuery::Syntax { at, reason }) => {
                assert!(reason.contains(words), "{text}: {reason}");
                assert!(at.abs_diff(offset) <= 1, "{text}: at {at}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
    assert_eq!(parse(&nines), Err(NoQuery::TooLong { found: 602 }));
    assert!(parse(&format!("a={}", "9".repeat(510))).is_ok(), "a huge number is one");
}

#[test]
fn tests_look_at_texts_as_cometbft_does() {
    let holds = |test: &str, text: &str| Query::parse(&format!("a {test}")).expect("a query").conditions[0].test.holds(text);
    let stories = [
        ("= 5", "5", true),
        ("= 5", "005", true),
        ("= 5", "5.0", true),
        ("= 5", "5zynk", true),
        ("= 5", "5.5", false),
        ("= 5", "-5", false),
        ("= 5", "+5", false),
        ("= 5", "", false),
        ("= 5", "five", false),
        ("= '5'", "5.0", false),
        ("< 10", "9", true),
        ("< 10", "10", false),
        ("<= 10", "10.0", true),
        ("<= 10", "10.01", false),
        ("> 10", "9", false),
        ("> 10", "100", true),
        ("> 18446744073709551615", "18446744073709551616", true),
        ("= 18446744073709551616", "18446744073709551617", false),
        (">= 0.5", "0.50", true),
        ("> 0.5", "0.49999999999999999999999999", false),
        ("< 0.1", ".05", false),
        ("= 0", "0", true),
        ("= 2026", "2026-01-31", true),
        ("= DATE 2026-01-31", "2026-01-31", true),
        ("< DATE 2026-02-01", "2026-01-31", true),
        ("> DATE 2026-02-01", "2026-03-01T00:00:00Z", false),
        ("> TIME 2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z", true),
        ("= TIME 2026-02-01T00:00:00Z", "2026-02-01T01:00:00+01:00", true),
        ("> TIME 2026-02-01T00:00:00Z", "2026-03-01", false),
        ("> TIME 2026-02-01T00:00:00Z", "soon", false),
        ("CONTAINS 'b'", "abc", true),
        ("CONTAINS ''", "", true),
        ("CONTAINS 'B'", "abc", false),
        ("EXISTS", "", true),
    ];
    for (test, text, expected) in stories {
        assert_eq!(holds(test, text), expected, "{text:?} {test}");
    }
}

#[test]
fn a_search_wants_one_event_and_a_subscription_any() {
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let own = [pair("tx.height", "5"), pair("tm.event", "Tx")];
    let transfer = |from: &str, to: &str| vec![pair("transfer", ""), pair("transfer.from", from), pair("transfer.to", to)];
    let events = [transfer("a", "b"), transfer("b", "c")];
    let flat: Vec<Pair> = own.iter().cloned().chain(events.iter().flatten().cloned()).collect();
    let stories = [
        ("transfer.from = 'a' AND transfer.to = 'b'", true, true),
        ("transfer.from = 'a' AND transfer.to = 'c'", false, true),
        ("transfer EXISTS AND tx.height = 5", true, true),
        ("transfer.from = 'a' AND tx.height > 5", false, false),
        ("tx.height = 5", true, true),
        ("tm.event = 'Tx' AND anchor EXISTS", false, false),
        ("transfer.from = 'a' AND transfer.from = 'b'", false, true),
    ];
    for (text, search, subscription) in stories {
        let query = Query::parse(text).expect("a query");
        assert_eq!((query.matches_within(&own, &events), query.matches_any(&flat)), (search, subscription), "{text}");
    }
}

proptest::proptest! {
    /// The order of the texts is that of the numbers.
    #[test]
    fn numbers_are_in_order(left in 0u64..2_000, right in 0u64..2_000, fractions in 0usize..4) {
        let text = |value: u64| match fractions {
            0 => value.to_string(),
            places => format!("{}.{:0places$}", value / 10u64.pow(3), value % 10u64.pow(3) % 10u64.pow(u32::try_from(places).expect("few"))),
        };
        let value = |text: &str| text.parse::<f64>().expect("a number");
        let (left, right) = (text(left), text(right));
        let found = number(&left).expect("a number").cmp(&number(&right).expect("a number"));
        proptest::prop_assert_eq!(Some(found), value(&left).partial_cmp(&value(&right)), "{} {}", left, right);
    }

    /// No text makes the reader panic, and what it reads it can be held against anything.
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,60}", value in "\\PC{0,20}") {
        if let Ok(query) = Query::parse(&text) {
            let _ = query.matches_any(&[(value.clone(), value)]);
        }
    }
}
