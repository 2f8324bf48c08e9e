//! A statement as comma-separated values. Pure.

use serde_json::Value;

use crate::ledger::{Entry, EntryKind};
use crate::money::Money;

/// Names of the columns.
const HEADER: &str = "id,time,kind,direction,amount_usd,service,units,unit_price_usd,request_id,source,key,\
                      prompt_tokens,completion_tokens,items\r\n";

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
            unit_price(entry).map_or_else(String::new, Money::to_dollars),
            cell(id),
            cell(source),
            cell(entry.meta["key"].as_str().unwrap_or_default()),
            number(&entry.meta["promptTokens"]),
            number(&entry.meta["completionTokens"]),
            cell(&items(&entry.meta["items"])),
        ];
        text.push_str(&fields.join(","));
        text.push_str("\r\n");
    }
    text
}

/// Returns the price of a unit; `None` where units have several prices.
pub fn unit_price(entry: &Entry) -> Option<Money> {
    let has_items = entry.meta["items"].is_array();
    Some(entry.unit_price).filter(|price| price.is_positive() || !has_items)
}

fn number(value: &Value) -> String {
    value.as_u64().map_or_else(String::new, |number| number.to_string())
}

/// Writes the items of a bill: tokens, and the price of a million of them.
fn items(items: &Value) -> String {
    let items = items.as_array().into_iter().flatten().map(|item| {
        let text = |name: &str| item[name].as_str().unwrap_or_default().to_owned();
        match item["tokens"].as_u64() {
            Some(tokens) => format!("{} {tokens} x {}/M", text("item"), text("pricePerMillion")),
            None => format!("{} {}", text("item"), text("price")),
        }
    });
    items.collect::<Vec<_>>().join("; ")
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
    fn items_can_be_computed_again() {
        let list = serde_json::json!([{"item": "input", "tokens": 12, "pricePerMillion": "0.20"},
            {"item": "request", "price": "0.01"}]);
        assert_eq!(items(&list), "input 12 x 0.20/M; request 0.01");
        assert_eq!(items(&Value::Null), "");
    }

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
