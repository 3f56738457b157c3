//! From text to conditions. Source: CometBFT 0.38, `libs/pubsub/query/syntax/scanner.go` and `parser.go`.

use super::{Condition, NoQuery, Order, Test, moment, number};

/// The years of a moment in a query.
const YEARS: std::ops::RangeInclusive<u32> = 1900..=2999;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Tag(String),
    Text(String),
    Number(String),
    Moment(String),
    And,
    Contains,
    Exists,
    Compare(Order),
}

/// Reads all conditions; there must be one at least.
pub(super) fn conditions(text: &str) -> Result<Vec<Condition>, NoQuery> {
    let mut scanner = Scanner { rest: text, length: text.len() };
    let mut conditions = vec![condition(&mut scanner)?];
    loop {
        let at = scanner.at();
        match scanner.next()? {
            None => return Ok(conditions),
            Some(Token::And) => conditions.push(condition(&mut scanner)?),
            Some(_) => return Err(NoQuery::Syntax { at, reason: "expected AND" }),
        }
    }
}

fn condition(scanner: &mut Scanner<'_>) -> Result<Condition, NoQuery> {
    let at = scanner.at();
    let Some(Token::Tag(key)) = scanner.next()? else {
        return Err(NoQuery::Syntax { at, reason: "expected a key" });
    };
    let at = scanner.at();
    let operator = scanner.next()?;
    let place = scanner.at();
    let test = match operator {
        Some(Token::Exists) => Test::Exists,
        Some(Token::Contains) => match scanner.next()? {
            Some(Token::Text(part)) => Test::Contains(part),
            _ => return Err(NoQuery::Syntax { at: place, reason: "expected a text in single quotes" }),
        },
        Some(Token::Compare(order)) => match (order, scanner.next()?) {
            (Order::Equal, Some(Token::Text(whole))) => Test::Is(whole),
            (_, Some(Token::Number(operand))) => Test::Number(order, operand),
            (_, Some(Token::Moment(operand))) => Test::Moment(order, operand),
            (Order::Equal, _) => return Err(NoQuery::Syntax { at: place, reason: "expected a text, a number, a TIME or a DATE" }),
            _ => return Err(NoQuery::Syntax { at: place, reason: "expected a number, a TIME or a DATE" }),
        },
        _ => return Err(NoQuery::Syntax { at, reason: "expected =, <, <=, >, >=, CONTAINS or EXISTS" }),
    };
    Ok(Condition { key, test })
}

struct Scanner<'a> {
    rest: &'a str,
    length: usize,
}

impl Scanner<'_> {
    /// Where the next token is looked for, in bytes.
    const fn at(&self) -> usize {
        self.length - self.rest.len()
    }

    fn next(&mut self) -> Result<Option<Token>, NoQuery> {
        self.rest = self.rest.trim_start();
        let at = self.at();
        let refused = |reason| Err(NoQuery::Syntax { at, reason });
        let Some(first) = self.rest.chars().next() else { return Ok(None) };
        let token = match first {
            '0'..='9' => {
                let mut text = self.take(|letter| letter.is_ascii_digit());
                if self.rest.starts_with('.') {
                    self.rest = &self.rest[1..];
                    text = format!("{text}.{}", self.take(|letter| letter.is_ascii_digit()));
                }
                match number(text.trim_end_matches('.')) {
                    Some(number) => Token::Number(number),
                    None => return refused("the number is too long"),
                }
            }
            '\'' => {
                let Some((text, rest)) = self.rest[1..].split_once('\'') else { return refused("the text does not end") };
                self.rest = rest;
                if text.contains('\0') {
                    return refused("a text has no NUL");
                }
                Token::Text(text.to_owned())
            }
            '=' | '<' | '>' => {
                self.rest = &self.rest[1..];
                let or_equal = first != '=' && self.rest.starts_with('=');
                self.rest = &self.rest[usize::from(or_equal)..];
                Token::Compare(match (first, or_equal) {
                    ('<', false) => Order::Less,
                    ('<', true) => Order::AtMost,
                    ('>', false) => Order::More,
                    ('>', true) => Order::AtLeast,
                    _ => Order::Equal,
                })
            }
            _ if first == '_' || first.is_alphanumeric() => {
                let word = self.take(|letter| matches!(letter, '.' | '_' | '-') || letter.is_alphanumeric());
                match word.as_str() {
                    "AND" => Token::And,
                    "EXISTS" => Token::Exists,
                    "CONTAINS" => Token::Contains,
                    "TIME" | "DATE" if self.rest.starts_with(' ') => return self.moment(word == "TIME").map(Some),
                    _ => Token::Tag(word),
                }
            }
            _ => return refused("no such sign in a query"),
        };
        Ok(Some(token))
    }

    fn moment(&mut self, time: bool) -> Result<Token, NoQuery> {
        let at = self.at();
        self.rest = &self.rest[1..];
        let text = self.take(|letter| letter.is_ascii_digit() || letter == '-' || (time && matches!(letter, 'T' | 'Z' | ':' | '+' | '.')));
        let year = text.get(..4).and_then(|year| year.parse().ok()).filter(|year| YEARS.contains(year));
        let found = moment(&text).filter(|moment| moment.starts_with(if time { 'T' } else { 'D' }));
        match (found, year) {
            (Some(moment), Some(_)) => Ok(Token::Moment(moment)),
            (Some(_), None) => Err(NoQuery::Syntax { at, reason: "the year is not between 1900 and 2999" }),
            (None, _) if time => Err(NoQuery::Syntax { at, reason: "expected a time as RFC 3339 has it: TIME 2026-01-31T12:00:00Z" }),
            (None, _) => Err(NoQuery::Syntax { at, reason: "expected a date: DATE 2026-01-31" }),
        }
    }

    fn take(&mut self, wanted: impl Fn(char) -> bool) -> String {
        let end = self.rest.find(|letter| !wanted(letter)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken.to_owned()
    }
}
