//! A statement as comma-separated values. Pure.

use crate::ledger::{Entry, EntryKind};

/// Names of the columns.
const HEADER: &str = "id,time,kind,direction,amount_usd,service,units,unit_price_usd,request_id,source\r\n";

/// Writes entries as RFC 4180 has them.
pub fn lines(entries: &[Entry]) -> String {
    let mut text = String::from(HEADER);
    for entry in entries {
        let id = entry.request_id.as_ref().map_or("", |id| id.as_str());
        let source = entry.source.as_ref().map_or("", |source| source.as_str());
        let fields = [
            cell(&entry.id),
            entry.created_at.to_rfc3339(),
            entry.kind.as_str().to_owned(),
            direction(entry.kind).to_owned(),
            entry.amount.to_dollars(),
            cell(&entry.service),
            entry.units.to_string(),
            entry.unit_price.to_dollars(),
            cell(id),
            cell(source),
        ];
        text.push_str(&fields.join(","));
        text.push_str("\r\n");
    }
    text
}

/// Returns `in` for a credit and `out` for everything else.
pub fn direction(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::Credit => "in",
        EntryKind::Usage | EntryKind::Purchase | EntryKind::Expired | EntryKind::Refund => "out",
    }
}

/// Writes one cell. Spreadsheets run text that begins like a formula, and a request id is the client's own
/// text: such a cell begins with an apostrophe instead (OWASP, "CSV Injection").
fn cell(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '|', '%']);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\r', '\n', '\'']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula() {
        for (text, shown) in [
            ("plain", "plain"),
            ("", ""),
            ("=1+1", "\"'=1+1\""),
            ("+1", "\"'+1\""),
            ("-1", "\"'-1\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            ("\t=1", "\"'\t=1\""),
            ("a,b", "\"a,b\""),
            ("a\"b", "\"a\"\"b\""),
            ("a\r\nb", "\"a\r\nb\""),
        ] {
            assert_eq!(cell(text), shown);
        }
    }
}
