//! Searches by events, in SQL.
//!
//! A search is driven by one condition, the one that should leave the fewest rows, over an index that has its key and value; the others
//! are looked up event by event. Every word of a stranger is a bound value. The number of results and the time are bounded.

use std::sync::Arc;

use super::database::{Cell, Database, MAX_QUESTION};
use super::pages::Range;
use super::query::{Condition, Order, Query, Test};
use super::rows::{BLOCK, MAX_VALUE};
use super::{Index, Unanswered};

/// A search with more results is refused.
pub(crate) const MAX_RESULTS: usize = 100_000;

/// A page of what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found<T> {
    /// How many there are on all pages.
    pub(crate) total: usize,
    pub(crate) page: Vec<T>,
}

/// A transaction, as the index has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Transaction {
    pub(crate) height: u64,
    pub(crate) place: u64,
    /// In hexadecimal.
    pub(crate) hash: String,
    /// In base64.
    pub(crate) bytes: String,
    /// As JSON.
    pub(crate) result: String,
}

/// The height of a block.
pub(crate) type Block = u64;

impl Index {
    /// The transactions that a query matches.
    pub(crate) async fn transactions(&self, query: Query, range: Range) -> Result<Found<Transaction>, Unanswered> {
        self.ask(move |database| async move {
            let Some(search) = Search::new(&query, &TRANSACTIONS, database.position())? else { return Ok(Found::none()) };
            let total = search.count(&database).await?;
            let direction = range.direction();
            let sql = format!(
                "SELECT t.height, t.place, t.hash, t.bytes, t.result FROM ({} ORDER BY 1 {direction}, 2 {direction} {}) f \
                 JOIN transactions t ON t.height = f.height AND t.place = f.place ORDER BY 1 {direction}, 2 {direction}",
                search.sql,
                range.limit(),
            );
            let rows = database.read(sql, search.values).await?;
            let transaction = |row: &Vec<Cell>| Transaction {
                height: row[0].number().try_into().unwrap_or(0),
                place: row[1].number().try_into().unwrap_or(0),
                hash: row[2].text().to_owned(),
                bytes: row[3].text().to_owned(),
                result: row[4].text().to_owned(),
            };
            Ok(Found { total, page: rows.iter().map(transaction).collect() })
        })
        .await
    }

    /// The heights of the blocks that a query matches.
    pub(crate) async fn blocks(&self, query: Query, range: Range) -> Result<Found<Block>, Unanswered> {
        self.ask(move |database| async move {
            let Some(search) = Search::new(&query, &BLOCKS, database.position())? else { return Ok(Found::none()) };
            let total = search.count(&database).await?;
            let sql = format!("{} ORDER BY 1 {} {}", search.sql, range.direction(), range.limit());
            let rows = database.read(sql, search.values).await?;
            Ok(Found { total, page: rows.iter().map(|row| row[0].number().try_into().unwrap_or(0)).collect() })
        })
        .await
    }
}

impl<T> Found<T> {
    const fn none() -> Self {
        Self { total: 0, page: Vec::new() }
    }
}

/// What is searched, and what it has of its own beside its events.
struct Kind {
    table: &'static str,
    /// The columns that tell one from another.
    columns: &'static [&'static str],
    height: &'static str,
    hash: Option<&'static str>,
    /// What subscriptions know it as.
    events: &'static [&'static str],
}

const TRANSACTIONS: Kind =
    Kind { table: "transactions", columns: &["height", "place"], height: "tx.height", hash: Some("tx.hash"), events: &["Tx"] };

const BLOCKS: Kind =
    Kind { table: "blocks", columns: &["height"], height: "block.height", hash: None, events: &["NewBlock", "NewBlockEvents"] };

/// A question for all that a query matches, without order or page.
struct Search {
    sql: String,
    values: Vec<Cell>,
}

impl Search {
    /// None where nothing can match.
    fn new(query: &Query, kind: &Kind, position: &'static str) -> Result<Option<Self>, Unanswered> {
        let mut search = Builder { values: Vec::new(), position };
        let (mut own, mut others) = (Vec::new(), Vec::new());
        for condition in &query.conditions {
            if condition.key == "tm.event" {
                if !kind.events.iter().any(|event| condition.test.holds(event)) {
                    return Ok(None);
                }
            } else if condition.key == kind.height {
                match search.height(&condition.test) {
                    Height::Any => {}
                    Height::None => return Ok(None),
                    Height::If(text) => own.push(text),
                }
            } else if Some(condition.key.as_str()) == kind.hash {
                own.extend(search.hash(&condition.test)?);
            } else {
                others.push(condition);
            }
        }
        others.sort_by_key(|condition| expected(&condition.test));
        let on = |prefix: &str| kind.columns.iter().map(|column| format!("{prefix}.{column}")).collect::<Vec<_>>().join(", ");
        let Some((first, rest)) = others.split_first() else {
            let conditions = if own.is_empty() { "1 = 1".to_owned() } else { own.join(" AND ") };
            return Ok(Some(Self { sql: format!("SELECT {} FROM {} s WHERE {conditions}", on("s"), kind.table), values: search.values }));
        };
        let mut sql = format!("SELECT DISTINCT {} FROM attributes a", on("a"));
        if !own.is_empty() {
            let joined: Vec<String> = kind.columns.iter().map(|column| format!("s.{column} = a.{column}")).collect();
            sql += &format!(" JOIN {} s ON {}", kind.table, joined.join(" AND "));
        }
        let place = if kind.columns.len() == 1 { format!("a.place = {BLOCK}") } else { format!("a.place > {BLOCK}") };
        sql += &format!(" WHERE {} AND {place}", search.attribute(DRIVING, first));
        for text in own {
            sql += &format!(" AND {text}");
        }
        for condition in rest {
            let of_event = "b.height = a.height AND b.place = a.place AND b.event = a.event";
            // A count, since PostgreSQL makes a join of an EXISTS, and takes seconds to plan 40 of them.
            sql += &format!(" AND (SELECT COUNT(*) FROM attributes b WHERE {of_event} AND {}) > 0", search.attribute("b", condition));
        }
        Ok(Some(Self { sql, values: search.values }))
    }

    async fn count(&self, database: &Arc<dyn Database>) -> Result<usize, Unanswered> {
        let sql = format!("SELECT COUNT(*) FROM ({} LIMIT {}) c", self.sql, MAX_RESULTS + 1);
        let rows = database.read(sql, self.values.clone()).await?;
        let total = rows.first().and_then(|row| row.first()).and_then(|cell| usize::try_from(cell.number()).ok()).unwrap_or(0);
        if total > MAX_RESULTS { Err(Unanswered::TooMany(MAX_RESULTS)) } else { Ok(total) }
    }
}

/// The attributes that a search walks through; those of the other conditions are looked up by event.
const DRIVING: &str = "a";

/// How many rows a test should leave, from few to many.
const fn expected(test: &Test) -> u8 {
    match test {
        Test::Is(_) => 0,
        Test::Number(Order::Equal, _) | Test::Moment(Order::Equal, _) => 1,
        Test::Number(..) | Test::Moment(..) => 2,
        Test::Contains(_) => 3,
        Test::Exists => 4,
    }
}

/// A test of a height.
#[derive(Debug, PartialEq, Eq)]
enum Height {
    Any,
    None,
    If(String),
}

struct Builder {
    values: Vec<Cell>,
    position: &'static str,
}

impl Builder {
    fn bind(&mut self, value: impl Into<Cell>) -> String {
        self.values.push(value.into());
        format!("${}", self.values.len())
    }

    fn attribute(&mut self, table: &str, condition: &Condition) -> String {
        // Where the event is known already its attributes are few, and no other index must lure a planner away from them.
        let column = |name: &str| if table == DRIVING { format!("{table}.{name}") } else { format!("({table}.{name} || '')") };
        // What is not null is said again for the sake of the indexes that have only that.
        let present = |name: &str| if table == DRIVING { format!(" AND {table}.{name} IS NOT NULL") } else { String::new() };
        let key = format!("{} = {}", column("key"), self.bind(condition.key.as_str()));
        let position = self.position;
        match &condition.test {
            Test::Exists => key,
            Test::Is(whole) => format!("{key} AND {table}.value = {}", self.bind(whole.as_str())),
            Test::Contains(part) => format!("{key} AND {position}({table}.value, {}) > 0", self.bind(part.as_str())),
            Test::Number(order, operand) => {
                let (number, operand) = (column("number"), self.bind(operand.as_str()));
                format!("{key}{} AND {number} {} {operand}", present("number"), order.sql())
            }
            Test::Moment(order, operand) => {
                // Times are between 'T' and 'U', dates between 'D' and 'E'.
                let (from, to) = if operand.starts_with('T') { ("T", "U") } else { ("D", "E") };
                let (moment, operand) = (column("moment"), self.bind(operand.as_str()));
                let kind = format!("{moment} >= '{from}' AND {moment} < '{to}'");
                format!("{key}{} AND {kind} AND {moment} {} {operand}", present("moment"), order.sql())
            }
        }
    }

    fn height(&mut self, test: &Test) -> Height {
        match test {
            Test::Exists => Height::Any,
            Test::Is(text) => match text.parse::<i64>() {
                Ok(height) if height.to_string() == *text => Height::If(format!("s.height = {}", self.bind(height))),
                _ => Height::None,
            },
            Test::Contains(part) => {
                let position = self.position;
                Height::If(format!("{position}(CAST(s.height AS TEXT), {}) > 0", self.bind(part.as_str())))
            }
            Test::Number(order, operand) => self.height_by_number(*order, operand),
            // A height is none.
            Test::Moment(..) => Height::None,
        }
    }

    /// `operand`: as [`super::query::number`] has it.
    fn height_by_number(&mut self, order: Order, operand: &str) -> Height {
        let digits = operand.get(3..).unwrap_or_default();
        let (whole, fraction) = digits.split_once('.').map_or((digits, false), |(whole, _)| (whole, true));
        let whole = if whole.is_empty() { "0" } else { whole };
        let Ok(whole) = whole.parse::<i64>() else {
            return if matches!(order, Order::Less | Order::AtMost) { Height::Any } else { Height::None };
        };
        let operator = match (order, fraction) {
            (Order::Equal, true) => return Height::None,
            // Below 5.5 is at most 5, from 5.5 on is above 5.
            (Order::Less, true) => Order::AtMost,
            (Order::AtLeast, true) => Order::More,
            (order, _) => order,
        };
        Height::If(format!("s.height {} {}", operator.sql(), self.bind(whole)))
    }

    fn hash(&mut self, test: &Test) -> Result<Option<String>, Unanswered> {
        match test {
            Test::Exists => Ok(None),
            Test::Is(hash) => Ok(Some(format!("s.hash = {}", self.bind(hash.to_uppercase())))),
            _ => Err(Unanswered::NotSearched("tx.hash is searched for with = and the whole hash in single quotes")),
        }
    }
}

// A query's texts are within what is indexed, so that nothing that one names is missed; and a question ends.
const _: () = assert!(MAX_VALUE >= super::query::MAX_QUERY && MAX_QUESTION.as_secs() > 0);
