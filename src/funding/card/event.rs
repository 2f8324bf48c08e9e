//! Events of the card processor, as far as they concern this server. Pure.

use serde_json::Value;

use crate::money::Money;

/// Name of our checkout's id in the metadata of the processor's records.
pub const METADATA: &str = "farebox_checkout";
/// Millionths of a dollar in a cent.
const CENT: i64 = 10_000;

/// An event of a webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CardEvent {
    /// A checkout was paid.
    Paid { checkout: String, payment: String, amount: Money },
    /// A checkout will never be paid.
    Failed { checkout: String },
    /// A payment was refunded; `amount` is the sum of all its refunds.
    Refunded { payment: String, amount: Money },
    /// A refund was made, is under way, or has failed for good.
    Refund { payment: String, refund: String, amount: Money, failed: bool },
    /// The payer's bank took back an amount of a payment, or may.
    Disputed { payment: String, amount: Money },
    /// The payer's bank gave a disputed amount back.
    DisputeWon { payment: String, amount: Money },
    /// An inquiry of the payer's bank ended without a dispute.
    InquiryClosed { payment: String, amount: Money },
    /// An event of no concern: another kind, another product, or not paid yet.
    Other,
}

/// An event of a kind that matters lacks a field, or has it in another form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the event lacks a field that its type must have, or is not JSON")]
pub struct EventError;

impl CardEvent {
    /// Reads an event whose signature was checked.
    ///
    /// # Errors
    /// [`EventError`] when an event of a kind that matters lacks what it must have.
    pub fn read(body: &[u8]) -> Result<Self, EventError> {
        let event: Value = serde_json::from_slice(body).map_err(|_| EventError)?;
        let object = &event["data"]["object"];
        let kind = event["type"].as_str().ok_or(EventError)?;
        match kind {
            "checkout.session.completed" | "checkout.session.async_payment_succeeded" => paid(object),
            "checkout.session.async_payment_failed" | "checkout.session.expired" => {
                Ok(checkout(object).map_or(Self::Other, |checkout| Self::Failed { checkout }))
            }
            "charge.refunded" => {
                reversed(object, "amount_refunded", |payment, amount| Self::Refunded { payment, amount })
            }
            "refund.created" | "refund.updated" | "refund.failed" | "charge.refund.updated" => refund(object),
            // An inquiry takes nothing yet; if it becomes a dispute, Stripe says so.
            "charge.dispute.created" | "charge.dispute.updated" | "charge.dispute.funds_withdrawn" => {
                match object["status"].as_str() {
                    Some(status) if status.starts_with("warning_") => Ok(Self::Other),
                    Some("won") => Ok(Self::Other),
                    _ => reversed(object, "amount", |payment, amount| Self::Disputed { payment, amount }),
                }
            }
            "charge.dispute.closed" => match object["status"].as_str() {
                Some("won") => {
                    reversed(object, "amount", |payment, amount| Self::DisputeWon { payment, amount })
                }
                Some("warning_closed") => {
                    reversed(object, "amount", |payment, amount| Self::InquiryClosed { payment, amount })
                }
                Some("lost") => {
                    reversed(object, "amount", |payment, amount| Self::Disputed { payment, amount })
                }
                _ => Ok(Self::Other),
            },
            _ => Ok(Self::Other),
        }
    }
}

/// Reads a completed session, which need not be paid yet: some ways to pay take days.
fn paid(session: &Value) -> Result<CardEvent, EventError> {
    let Some(checkout) = checkout(session).filter(|_| session["payment_status"] == "paid") else {
        return Ok(CardEvent::Other);
    };
    if session["currency"] != "usd" {
        return Err(EventError);
    }
    let payment = reference(&session["payment_intent"]).ok_or(EventError)?;
    let amount = cents(&session["amount_total"]).ok_or(EventError)?;
    Ok(CardEvent::Paid { checkout, payment, amount })
}

/// Reads a refund. Whatever has not failed is on its way to the payer.
fn refund(object: &Value) -> Result<CardEvent, EventError> {
    let failed = matches!(object["status"].as_str(), Some("failed" | "canceled"));
    let Some(payment) = reference(&object["payment_intent"]).filter(|_| object["currency"] == "usd") else {
        return Ok(CardEvent::Other);
    };
    let refund = reference(&object["id"]).ok_or(EventError)?;
    let amount = cents(&object["amount"]).ok_or(EventError)?;
    Ok(CardEvent::Refund { payment, refund, amount, failed })
}

fn reversed(
    object: &Value,
    field: &str,
    event: fn(String, Money) -> CardEvent,
) -> Result<CardEvent, EventError> {
    // Other products may share the account, and have other currencies.
    match reference(&object["payment_intent"]) {
        Some(payment) if object["currency"] == "usd" => {
            cents(&object[field]).map(|amount| event(payment, amount)).ok_or(EventError)
        }
        _ => Ok(CardEvent::Other),
    }
}

fn checkout(session: &Value) -> Option<String> {
    let named = &session["metadata"][METADATA];
    named.as_str().filter(|id| id.len() <= 64).map(str::to_owned)
}

/// Returns the id of a referenced object, which may be expanded.
fn reference(value: &Value) -> Option<String> {
    let id = value.as_str().or_else(|| value["id"].as_str())?;
    let plain =
        !id.is_empty() && id.len() <= 100 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    plain.then(|| id.to_owned())
}

fn cents(value: &Value) -> Option<Money> {
    let cents = value.as_i64().filter(|cents| *cents >= 0)?;
    cents.checked_mul(CENT).map(Money::from_micros)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(kind: &str, object: &Value) -> Result<CardEvent, EventError> {
        CardEvent::read(json!({ "type": kind, "data": { "object": object } }).to_string().as_bytes())
    }

    fn session(status: &str) -> Value {
        json!({ "payment_status": status, "payment_intent": "pi_1", "amount_total": 1000, "currency": "usd",
                "metadata": { METADATA: "c" } })
    }

    #[test]
    fn only_a_paid_session_is_a_payment() {
        let dollars = |n: i64| Money::from_micros(n * 1_000_000);
        let paid = CardEvent::Paid { checkout: "c".into(), payment: "pi_1".into(), amount: dollars(10) };
        let completed = "checkout.session.completed";
        assert_eq!(read(completed, &session("paid")), Ok(paid.clone()));
        assert_eq!(read("checkout.session.async_payment_succeeded", &session("paid")), Ok(paid.clone()));
        for status in ["unpaid", "no_payment_required", ""] {
            assert_eq!(read(completed, &session(status)), Ok(CardEvent::Other), "{status}");
        }
        let mut expanded = session("paid");
        expanded["payment_intent"] = json!({ "id": "pi_1" });
        assert_eq!(read(completed, &expanded), Ok(paid));
        let mut foreign = session("paid");
        foreign["metadata"] = json!({});
        assert_eq!(read(completed, &foreign), Ok(CardEvent::Other));
        for (field, value) in [
            ("payment_intent", json!(null)),
            ("payment_intent", json!("pi 1")),
            ("amount_total", json!(-1)),
            ("amount_total", json!(10.5)),
            ("amount_total", json!(i64::MAX)),
            ("currency", json!("eur")),
        ] {
            let mut wrong = session("paid");
            wrong[field] = value;
            assert_eq!(read(completed, &wrong), Err(EventError), "{field}");
        }
        let charge =
            json!({ "payment_intent": "pi_1", "amount_refunded": 250, "amount": 1000, "currency": "usd" });
        let refunded = CardEvent::Refunded { payment: "pi_1".into(), amount: Money::from_micros(2_500_000) };
        assert_eq!(read("charge.refunded", &charge), Ok(refunded));
        let disputed = CardEvent::Disputed { payment: "pi_1".into(), amount: dollars(10) };
        assert_eq!(read("charge.dispute.created", &charge), Ok(disputed.clone()));
        let won = CardEvent::DisputeWon { payment: "pi_1".into(), amount: dollars(10) };
        let inquiry = CardEvent::InquiryClosed { payment: "pi_1".into(), amount: dollars(10) };
        for (status, event) in [
            ("won", won),
            ("warning_closed", inquiry),
            ("lost", disputed),
            ("under_review", CardEvent::Other),
        ] {
            let mut closed = charge.clone();
            closed["status"] = json!(status);
            assert_eq!(read("charge.dispute.closed", &closed), Ok(event), "{status}");
        }
        for (status, failed) in
            [("pending", false), ("succeeded", false), ("failed", true), ("canceled", true)]
        {
            let object = json!({ "id": "re_1", "payment_intent": "pi_1", "amount": 250, "currency": "usd", "status": status });
            let (payment, refund) = ("pi_1".to_owned(), "re_1".to_owned());
            let made = CardEvent::Refund { payment, refund, amount: Money::from_micros(2_500_000), failed };
            for kind in ["refund.created", "refund.updated", "refund.failed", "charge.refund.updated"] {
                assert_eq!(read(kind, &object), Ok(made.clone()), "{kind} {status}");
            }
        }
        assert_eq!(read("refund.failed", &charge), Err(EventError), "without an id");
        assert_eq!(read("invoice.paid", &charge), Ok(CardEvent::Other));
        for body in ["", "[]", "{}", "null", "{\"type\":5}"] {
            assert_eq!(CardEvent::read(body.as_bytes()), Err(EventError), "{body}");
        }
    }
}
