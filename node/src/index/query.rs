//! What subscriptions and searches ask for: CometBFT 0.38's query language, and what it matches.
//!
//! `key = value` and the like, joined by AND. A key is an event's kind and an attribute's name with a dot between, and each
//! test looks at the text that the attribute has. Source: CometBFT 0.38, `libs/pubsub/query/` and `libs/pubsub/query/syntax/`;
//! where two readings are possible there, `docs/spec/queries.md` says which one this is.

mod scan;
mod value;

use tendermint::abci::Event;

pub(crate) use value::{moment, number};

/// How long a query may be: CometBFT's bound, in bytes. It bounds the conditions too: about 40.
pub(crate) const MAX_QUERY: usize = 512;

/// A query: all of its conditions must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Query {
    pub(crate) conditions: Vec<Condition>,
}

/// A test of the attributes with one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Condition {
    pub(crate) key: String,
    pub(crate) test: Test,
}

/// A test of an attribute's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Test {
    /// It is there.
    Exists,
    /// This is part of it.
    Contains(String),
    /// It is this.
    Is(String),
    /// It begins with digits, and they are a number in this order to the given one ([`number`]).
    Number(Order, String),
    /// It is a time or a date, in this order to the given one ([`moment`]); times compare with times, dates with dates.
    Moment(Order, String),
}

/// How a value stands to the operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Less,
    AtMost,
    Equal,
    AtLeast,
    More,
}

/// Why a text is no query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoQuery {
    #[error("the query has {found} bytes, at most {MAX_QUERY} are allowed")]
    TooLong { found: usize },
    #[error("offset {at}: {reason}")]
    Syntax { at: usize, reason: &'static str },
}

/// Key and value of an attribute: what a condition is held against.
pub(crate) type Pair = (String, String);

impl Query {
    /// Reads a query.
    ///
    /// # Errors
    /// [`NoQuery`], with the place in bytes.
    pub(crate) fn parse(text: &str) -> Result<Self, NoQuery> {
        if text.len() > MAX_QUERY {
            return Err(NoQuery::TooLong { found: text.len() });
        }
        scan::conditions(text).map(|conditions| Self { conditions })
    }

    /// How a subscription matches: each condition holds for some attribute, whichever event has it.
    pub(crate) fn matches_any(&self, pairs: &[Pair]) -> bool {
        self.conditions.iter().all(|condition| condition.holds_in(pairs))
    }

    /// How a search matches: the conditions about the thing itself hold for its own attributes, and one
    /// event meets all the others.
    #[cfg(test)]
    pub(crate) fn matches_within(&self, own: &[Pair], events: &[Vec<Pair>]) -> bool {
        let (itself, others): (Vec<_>, Vec<_>) =
            self.conditions.iter().partition(|condition| own.iter().any(|(key, _)| *key == condition.key));
        let one = |event: &Vec<Pair>| others.iter().all(|condition| condition.holds_in(event));
        itself.iter().all(|condition| condition.holds_in(own)) && (others.is_empty() || events.iter().any(one))
    }
}

impl Condition {
    fn holds_in(&self, pairs: &[Pair]) -> bool {
        pairs.iter().any(|(key, value)| *key == self.key && self.test.holds(value))
    }
}

impl Test {
    /// Whether a text passes.
    pub(crate) fn holds(&self, text: &str) -> bool {
        match self {
            Self::Exists => true,
            Self::Contains(part) => text.contains(part.as_str()),
            Self::Is(whole) => text == whole,
            Self::Number(order, operand) => number(text).is_some_and(|value| order.holds(&value, operand)),
            Self::Moment(order, operand) => moment(text).is_some_and(|value| value[..1] == operand[..1] && order.holds(&value, operand)),
        }
    }
}

impl Order {
    fn holds(self, value: &str, operand: &str) -> bool {
        match self {
            Self::Less => value < operand,
            Self::AtMost => value <= operand,
            Self::Equal => value == operand,
            Self::AtLeast => value >= operand,
            Self::More => value > operand,
        }
    }

    /// The same in SQL.
    pub(crate) const fn sql(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Equal => "=",
            Self::AtLeast => ">=",
            Self::More => ">",
        }
    }
}

/// An event's attributes as pairs. The kind alone is one too, with nothing for a value, so that it can be asked for.
pub(crate) fn pairs(event: &Event) -> Vec<Pair> {
    if event.kind.is_empty() {
        return Vec::new();
    }
    let kind = std::iter::once((event.kind.clone(), String::new()));
    let named = event.attributes.iter().filter_map(|attribute| {
        let (key, value) = (attribute.key_str().ok()?, attribute.value_str().ok()?);
        (!key.is_empty()).then(|| (format!("{}.{key}", event.kind), value.to_owned()))
    });
    kind.chain(named).collect()
}

#[cfg(test)]
mod tests;
