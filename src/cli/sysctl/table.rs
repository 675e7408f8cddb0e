//! A plan as a table and as JSON.

use serde::Serialize;

use crate::tuning::sysctl::{Plan, Row, Verdict};

/// A row of a plan for programs.
#[derive(Serialize)]
pub(super) struct Line<'a> {
    key: &'a str,
    now: Option<&'a str>,
    wanted: &'a str,
    verdict: &'static str,
    /// The value that it would be set to, if any.
    would_be: Option<&'a str>,
    scope: Option<String>,
    optional: bool,
    remark: Option<&'static str>,
}

impl<'a> From<&'a Row> for Line<'a> {
    fn from(row: &'a Row) -> Self {
        Self {
            key: row.setting.key.as_str(),
            now: row.now.as_deref(),
            wanted: &row.setting.value,
            verdict: row.verdict.words(),
            would_be: match &row.verdict {
                Verdict::Change(value) => Some(value),
                _ => None,
            },
            scope: row.setting.scope.map(|scope| scope.to_string()),
            optional: row.setting.optional,
            remark: row.remark(),
        }
    }
}

/// A plan as a table: key, present value, wanted value, verdict and scope, followed by remarks.
pub(super) fn table(plan: &Plan) -> String {
    let heads = ["key", "now", "wanted", "verdict", "touches"].map(str::to_owned);
    let mut lines = vec![heads];
    lines.extend(plan.rows.iter().map(cells));
    let width = |column: usize| lines.iter().map(|line| line[column].len()).max();
    let widths: Vec<usize> = (0..5).map(|column| width(column).unwrap_or(0)).collect();
    let mut out = String::new();
    for line in &lines {
        let cells: Vec<String> = line
            .iter()
            .zip(&widths)
            .map(|(cell, &width)| format!("{cell:<width$}"))
            .collect();
        out += cells.join("  ").trim_end();
        out.push('\n');
    }
    for row in &plan.rows {
        if let Some(remark) = row.remark() {
            out += &format!("{}: {remark}\n", row.setting.key);
        }
    }
    out
}

fn cells(row: &Row) -> [String; 5] {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let optional = if row.setting.optional { "-" } else { "" };
    // The better of both, number by number, may differ from both.
    let verdict = match &row.verdict {
        Verdict::Change(value) if *value != words(&row.setting.value) => {
            format!("would change to {value}")
        }
        verdict => verdict.words().to_owned(),
    };
    [
        format!("{optional}{}", row.setting.key),
        row.now.as_deref().map_or("-".to_owned(), words),
        words(&row.setting.value),
        verdict,
        row.setting
            .scope
            .map_or("unknown".to_owned(), |scope| scope.to_string()),
    ]
}
