//! A wallet that owes: it paid by card, spent the credit, and the card payment was taken back.

use farebox::app::App;
use farebox::funding::card::{CardChange, CheckoutError, CheckoutItem, CheckoutOrder, checkout};
use farebox::id::{AccountId, RequestId, RequestKey, Timestamp};
use farebox::ledger::{EntryDetails, EntryKind, SpendOutcome};
use farebox::money::Money;

/// Makes an account that has nothing owe `amount`, for one card payment.
pub async fn add_debt(app: &App, account: &AccountId, amount: Money) {
    add_debts(app, account, &[amount]).await;
}

/// Makes an account owe the sum of `amounts`, each for a card payment of its own.
pub async fn add_debts(app: &App, account: &AccountId, amounts: &[Money]) {
    let mut payments = Vec::new();
    for amount in amounts {
        payments.push(pay(app, account, *amount).await);
        use_up(app, account, *amount).await;
    }
    for (payment, amount) in payments.iter().zip(amounts) {
        assert_eq!(dispute(app, payment, *amount).await, *amount);
    }
}

/// A card payment for the account; its name.
pub async fn pay(app: &App, account: &AccountId, amount: Money) -> String {
    let id = uuid::Uuid::new_v4().to_string();
    let (nonce, request) = (id.as_str(), &RequestId::new(Timestamp::now()));
    let order = &CheckoutOrder {
        item: CheckoutItem::Amount,
        price: amount,
        credits: amount,
        idempotency_key: None,
        nonce,
        request_id: request,
    };
    let now = Timestamp::now();
    let opened = app.db.transaction(|mut tx| async move {
        let opened = checkout::open(&mut tx, account, order, now).await?;
        Ok::<_, CheckoutError>((tx, opened))
    });
    let checkout = opened.await.expect("a checkout").id;
    let payment = format!("pi_{}", id.replace('-', ""));
    app.cards.apply_change(&payment, &CardChange::Paid { checkout, amount }, now).await.expect("it is paid");
    payment
}

/// The account buys something.
pub async fn use_up(app: &App, account: &AccountId, amount: Money) {
    let details = EntryDetails {
        kind: EntryKind::Usage,
        request_id: None,
        service: "model".to_owned(),
        units: 1,
        unit_price: amount,
        meta: serde_json::json!({}),
    };
    let now = Timestamp::now();
    let spent = app.ledger.spend(account, amount, &RequestKey::new(now), &details, now).await;
    assert!(matches!(spent, Ok(SpendOutcome::Spent(_))), "{spent:?}");
}

/// A card payment is disputed; what is owed for it then.
pub async fn dispute(app: &App, payment: &str, amount: Money) -> Money {
    let booked = app.cards.apply_change(payment, &CardChange::Disputed(amount), Timestamp::now()).await;
    booked.expect("it is booked").debt
}

/// Money that the account can spend, and its debt, in base units.
pub async fn balance_and_debt(app: &App, account: &AccountId) -> (i64, i64) {
    let balance = app.ledger.balance(account).await.expect("the database answers");
    let debt = app.cards.debt(account).await.expect("the database answers");
    (balance.available().micros(), debt.micros())
}
