//! Class 5: amounts.

use alloy::primitives::{B256, U256};
use alloy::sol_types::SolCall as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use farebox::config::{Sources, load};
use farebox_test_support::agent::{self, Agent, Challenge, call};
use farebox_test_support::harness::{PRICE, SECRET, Server, funded, run, shared_chain};
use serde_json::json;
use tempo_contracts::precompiles::ITIP20;

/// Not one of these is a number of base units.
const NOT_AMOUNTS: [&str; 14] = [
    "", ".", "+50000", "-50000", "0x1", "1_0", " 50000", "5e4", "50000.0", "0.05", "٥", "050000", "NaN",
    "1,0",
];

#[test]
fn attack_05_amounts_of_challenges_are_ours_or_refused() {
    run(async {
        let server = Server::start().await;
        let agent = funded(shared_chain().await).await;
        let huge = ["9223372036854775808", "79228162514264337593543950336", "1e400"];
        let small = ["0", "1", "49999", "50001"];
        for amount in NOT_AMOUNTS.into_iter().chain(huge).chain(small) {
            // Even signed with our own secret: the amount is not this route's.
            let mut challenge = server.challenge().await;
            let honest = challenge.transfer();
            challenge.request["amount"] = json!(amount);
            challenge.echo["request"] = json!(URL_SAFE_NO_PAD.encode(challenge.request.to_string()));
            challenge.resign(SECRET);
            let signed = agent.sign(agent.transaction(vec![honest])).raw;
            let refused = server.pay(&agent.credential(&challenge, agent::transaction(&signed))).await;
            refused.assert(402, "invalid_challenge");
        }
        server.assert_ledger(shared_chain().await, 0).await;
    });
}

/// A payment of this challenge with another amount.
fn paying(agent: &Agent, challenge: &Challenge, amount: U256) -> serde_json::Value {
    let transfer = ITIP20::transferWithMemoCall { to: challenge.recipient(), amount, memo: challenge.memo() };
    let transfer = call(challenge.currency(), transfer.abi_encode());
    agent.credential(challenge, agent::transaction(&agent.sign(agent.transaction(vec![transfer])).raw))
}

#[test]
fn attack_05_transfers_of_any_other_amount_are_refused() {
    run(async {
        let server = Server::start().await;
        let agent = funded(shared_chain().await).await;
        let price = U256::from(PRICE);
        // 2^128 + price and 2^64 + price have the price in their low bits.
        let wrapped = [128, 64, 96, 255].map(|bits| (U256::from(1) << bits) + price);
        let off = [U256::ZERO, U256::from(1), price - U256::from(1), price + U256::from(1), U256::MAX];
        for amount in off.into_iter().chain(wrapped) {
            let challenge = server.challenge().await;
            server.pay(&paying(&agent, &challenge, amount)).await.assert(402, "verification_failed");
        }
        let challenge = server.challenge().await;
        server.pay(&paying(&agent, &challenge, price)).await.assert_paid();
        server.assert_ledger(shared_chain().await, 1).await;
    });
}

#[test]
fn attack_05_several_transfers_do_not_add_up_to_the_price() {
    run(async {
        let server = Server::start().await;
        let agent = funded(shared_chain().await).await;
        let challenge = server.challenge().await;
        let part = |amount, memo| {
            agent::transfer_with_memo(challenge.currency(), challenge.recipient(), amount, memo)
        };
        let calls = vec![part(PRICE / 2, challenge.memo()), part(PRICE / 2, challenge.memo())];
        let halves = agent.sign(agent.transaction(calls)).raw;
        let refused = server.pay(&agent.credential(&challenge, agent::transaction(&halves))).await;
        refused.assert(402, "verification_failed");
        let calls = vec![part(PRICE - 1, challenge.memo()), part(1, B256::ZERO)];
        let uneven = agent.sign(agent.transaction(calls)).raw;
        let refused = server.pay(&agent.credential(&challenge, agent::transaction(&uneven))).await;
        refused.assert(402, "verification_failed");
        server.assert_ledger(shared_chain().await, 0).await;
    });
}

#[test]
fn attack_05_prices_of_the_configuration_are_read_strictly() {
    let priced = |price: &str| {
        let flag = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let flags = vec![
            flag("payments.secret", SECRET),
            flag("payments.recipient", "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"),
            flag("pii.preview_price", price),
        ];
        load(&Sources { flags, ..Sources::default() }).map(|config| config.pii.preview_price.micros())
    };
    for price in ["", ".", "+1", "-1", "0x1", "1_0", " 1", "1e2", "NaN", "inf", "0.0000001", "9223372036855"]
    {
        let error = priced(price).expect_err(price).to_string();
        assert!(error.contains("pii.preview_price"), "{price}: {error}");
    }
    assert_eq!(priced("0.05").unwrap(), 50_000);
    assert_eq!(priced("9223372036854.775807").unwrap(), i64::MAX);
}
