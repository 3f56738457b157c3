//! Lists of the index, by pages: identities and their operations, logs and their anchors, validators and their powers.

use super::database::Cell;
use super::search::Found;
use super::{Index, Unanswered};

/// Which part of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    /// The newest first.
    pub(crate) descending: bool,
    pub(crate) skip: usize,
    pub(crate) count: usize,
}

impl Range {
    pub(crate) const fn direction(self) -> &'static str {
        if self.descending { "DESC" } else { "ASC" }
    }

    pub(crate) fn limit(self) -> String {
        format!("LIMIT {} OFFSET {}", self.count, i64::try_from(self.skip).unwrap_or(i64::MAX))
    }
}

/// A list, by the order in which the chain came to have its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct List {
    table: &'static str,
    /// The columns, as they are named in answers.
    pub(crate) columns: &'static [&'static str],
    order: [&'static str; 2],
    /// What the list can be narrowed by.
    by: Option<&'static str>,
}

impl List {
    pub(crate) const IDENTITIES: Self =
        Self { table: "identities", columns: &["did", "height", "place", "operations", "changed"], order: ["height", "place"], by: None };
    pub(crate) const OPERATIONS: Self = Self {
        table: "operations",
        columns: &["height", "place", "did", "sequence", "operation"],
        order: ["height", "place"],
        by: Some("did"),
    };
    pub(crate) const LOGS: Self =
        Self { table: "logs", columns: &["log", "owner", "height", "place", "retired"], order: ["height", "place"], by: Some("owner") };
    pub(crate) const ANCHORS: Self = Self {
        table: "anchors",
        columns: &["log", "sequence", "height", "place", "root", "leaves", "opened", "closed"],
        order: ["height", "place"],
        by: Some("log"),
    };
    pub(crate) const VALIDATORS: Self =
        Self { table: "validators", columns: &["address", "key", "height", "power", "changed"], order: ["height", "address"], by: None };
    pub(crate) const POWERS: Self =
        Self { table: "powers", columns: &["height", "address", "power"], order: ["height", "address"], by: Some("address") };
}

/// A row, in the order of the list's columns.
pub(crate) type Listed = Vec<Cell>;

impl Index {
    /// A part of a list, perhaps only what belongs to one.
    pub(crate) async fn list(&self, list: List, of: Option<String>, range: Range) -> Result<Found<Listed>, Unanswered> {
        self.ask(move |database| async move {
            let (narrowed, values) = match (list.by, of) {
                (Some(column), Some(of)) => (format!("WHERE {column} = $1"), vec![Cell::from(of)]),
                _ => (String::new(), Vec::new()),
            };
            let rows = database.read(format!("SELECT COUNT(*) FROM {} {narrowed}", list.table), values.clone()).await?;
            let total = rows.first().and_then(|row| row.first()).and_then(|cell| usize::try_from(cell.number()).ok()).unwrap_or(0);
            let ([first, second], direction) = (list.order, range.direction());
            let (columns, limit) = (list.columns.join(", "), range.limit());
            let sql = format!("SELECT {columns} FROM {} {narrowed} ORDER BY {first} {direction}, {second} {direction} {limit}", list.table);
            Ok(Found { total, page: database.read(sql, values).await? })
        })
        .await
    }
}
