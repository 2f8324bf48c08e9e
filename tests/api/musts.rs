//! Every MUST of the two drafts that binds a server, and the test that covers it.
//!
//! Rules for clients, for specifications and for registries are left out.

use std::path::Path;

/// Evidence that a rule is kept.
enum Kept {
    /// By the test of this name.
    Test(&'static str),
    /// By something that is no test here, or not at all: why.
    Because(&'static str),
}

use Kept::{Because, Test};

/// draft-httpauth-payment-00: section, what it demands, how it is kept.
const CORE: [(&str, &str, Kept); 31] = [
    (
        "Status Codes",
        "payment required, no credential: 402 with a fresh challenge",
        Test("unpaid_requests_get_402_with_all_that_a_client_needs"),
    ),
    (
        "Status Codes",
        "malformed credential: 402, fresh challenge, malformed-credential",
        Test("attack_04_malformed_credentials_get_402_and_never_500"),
    ),
    (
        "Status Codes",
        "unknown challenge: 402, fresh challenge, invalid-challenge",
        Test("attack_03_every_bound_parameter_is_checked"),
    ),
    (
        "Status Codes",
        "expired challenge: 402 with a fresh challenge",
        Test("attack_02_expired_and_expires_equal_to_now"),
    ),
    (
        "Status Codes",
        "used challenge: 402 with a fresh challenge for whoever has not paid it",
        Test("attack_08_a_proof_is_used_once"),
    ),
    (
        "Status Codes",
        "used challenge of a payment that was made: a challenge would be paid twice, so 403",
        Test("attack_09_replay_is_refused_without_a_challenge_on_every_engine"),
    ),
    (
        "Status Codes",
        "invalid proof: 402, fresh challenge, verification-failed",
        Test("attack_08_a_proof_by_another_wallet"),
    ),
    (
        "Status Codes",
        "payment verified: 200 with the resource",
        Test("pull_push_sponsored_and_proof_on_every_engine"),
    ),
    (
        "When NOT to Return 402",
        "no 402 without a challenge",
        Test("accept_payment_filters_and_never_leaves_a_402_without_a_challenge"),
    ),
    (
        "Required Parameters",
        "id present and not empty",
        Test("unpaid_requests_get_402_with_all_that_a_client_needs"),
    ),
    (
        "Required Parameters",
        "id unique and bound to the parameters",
        Test("challenges_are_unique_even_for_equal_requests_at_one_moment"),
    ),
    ("Required Parameters", "realm included", Test("attack_03_realm_does_not_come_from_the_host_header")),
    (
        "Required Parameters",
        "method in lower case, request without padding and canonical",
        Test("unpaid_requests_get_402_with_all_that_a_client_needs"),
    ),
    (
        "Optional Parameters",
        "opaque: a flat map of strings, canonical",
        Test("unpaid_requests_get_402_with_all_that_a_client_needs"),
    ),
    (
        "Optional Parameters",
        "description not relied upon",
        Test("attack_03_every_bound_parameter_is_checked"),
    ),
    (
        "Challenge Binding",
        "credentials present an id that matches the binding",
        Test("attack_03_every_bound_parameter_is_checked"),
    ),
    (
        "Request Body Digest Binding",
        "digest computed, compared, and other bodies rejected",
        Test("attack_01_other_body"),
    ),
    ("Receipt Status Semantics", "status is success", Test("paid_answers_are_private_and_carry_a_receipt")),
    (
        "Receipt Status Semantics",
        "no receipt on errors; checked on every answer of every test",
        Test("attack_09_a_dead_chain_is_503_and_no_challenge"),
    ),
    (
        "Client Payment Preferences",
        "without Accept-Payment anything is accepted",
        Test("unpaid_requests_get_402_with_all_that_a_client_needs"),
    ),
    ("Versioning", "unknown parameters and fields are ignored", Test("attack_04_sizes")),
    ("Size Considerations", "credentials of at least 4 KB are handled", Test("attack_04_sizes")),
    (
        "Transport Security",
        "TLS",
        Because("ends in the proxy in front; the server listens on loopback by default"),
    ),
    (
        "Credential Handling",
        "credentials not in logs, errors, debugging output, analytics",
        Test("attack_28_logs_metrics_and_errors_hold_no_secrets"),
    ),
    (
        "Challenge-Binding Secret Management",
        "the secret is neither disclosed nor logged",
        Test("attack_28_start_up_errors_hold_no_passwords"),
    ),
    (
        "Replay Protection",
        "a proof is usable once",
        Test("attack_09_replay_is_refused_without_a_challenge_on_every_engine"),
    ),
    (
        "Idempotency and Side Effects",
        "no side effects for unpaid requests",
        Test("unpaid_requests_get_402_with_all_that_a_client_needs"),
    ),
    (
        "Concurrent Request Handling",
        "one settlement and one delivery per credential",
        Test("attack_11_one_credential_twenty_times_at_once"),
    ),
    ("Privacy", "no user accounts", Test("pull_push_sponsored_and_proof_on_every_engine")),
    (
        "Caching",
        "402 with Cache-Control: no-store; checked on every answer",
        Test("unpaid_requests_get_402_with_all_that_a_client_needs"),
    ),
    (
        "Caching",
        "receipts with Cache-Control: private; checked on every answer",
        Test("paid_answers_are_private_and_carry_a_receipt"),
    ),
];

/// draft-tempo-charge-00.
const CHARGE: [(&str, &str, Kept); 25] = [
    (
        "Introduction",
        "supportedModes when not both modes are supported",
        Test("a_mode_that_is_not_offered_is_refused"),
    ),
    (
        "Request Schema",
        "request serialised canonically",
        Test("unpaid_requests_get_402_with_all_that_a_client_needs"),
    ),
    (
        "Submission Modes",
        "supportedModes omitted only when both are supported",
        Test("a_mode_that_is_not_offered_is_refused"),
    ),
    (
        "Split Payments",
        "splits below the amount, at least one, verified in any order",
        Because("no route asks for splits"),
    ),
    (
        "Transaction Payload",
        "the transaction authorises the requested amount of the requested token",
        Test("attack_06_wrong_token_recipient_or_kind_of_call"),
    ),
    (
        "Proof Payload",
        "type proof for zero amounts, and only for them",
        Test("attack_08_proofs_do_not_pay_and_payments_do_not_prove"),
    ),
    (
        "Proof Payload",
        "source present, a did:pkh of the challenge's chain",
        Test("attack_08_a_proof_of_another_challenge_realm_or_chain"),
    ),
    (
        "EIP-712 Domain and Types",
        "domain version 1 with the challenge id alone",
        Because(
            "the clients in use sign version 3, which binds account and realm too; the server follows them",
        ),
    ),
    (
        "EIP-712 Domain and Types",
        "the signature is bound to one challenge",
        Test("attack_08_a_proof_of_another_challenge_realm_or_chain"),
    ),
    (
        "Proof Verification",
        "the recovered signer is the source's address",
        Test("attack_08_a_proof_by_another_wallet"),
    ),
    (
        "Server Requirements",
        "balance of the fee token maintained and watched",
        Because("an operator's duty; farebox_fee_balance_micros and /readyz show it"),
    ),
    (
        "Hash Settlement",
        "hash credentials rejected when the fee is sponsored",
        Test("attack_12_envelopes_that_lie_about_their_sender_or_are_not_ours_to_sign"),
    ),
    (
        "Hash Settlement",
        "hash credentials rejected when push is not offered",
        Test("a_mode_that_is_not_offered_is_refused"),
    ),
    (
        "Transaction Verification",
        "1: the transaction is decoded",
        Test("attack_04_payloads_that_are_no_transaction"),
    ),
    (
        "Transaction Verification",
        "2: its calls are transfers of the token",
        Test("attack_06_wrong_token_recipient_or_kind_of_call"),
    ),
    (
        "Transaction Verification",
        "3: the amount matches",
        Test("attack_05_transfers_of_any_other_amount_are_refused"),
    ),
    (
        "Transaction Verification",
        "4: the recipient matches",
        Test("attack_06_wrong_token_recipient_or_kind_of_call"),
    ),
    (
        "Transaction Verification",
        "5: the memo binds it to the challenge",
        Test("attack_06_pull_with_an_unbound_or_foreign_memo"),
    ),
    (
        "Transaction Verification",
        "7: pull is among the supported modes",
        Test("a_mode_that_is_not_offered_is_refused"),
    ),
    ("Hash Verification", "the receipt says success", Test("attack_07_failed_transaction")),
    (
        "Hash Verification",
        "its logs are the token's and satisfy the challenge",
        Test("attack_06_push_with_an_unbound_or_foreign_memo_buys_nothing"),
    ),
    (
        "Receipt Generation",
        "a receipt on success, with the transaction's hash",
        Test("paid_answers_are_private_and_carry_a_receipt"),
    ),
    (
        "Receipt Generation",
        "no receipt on errors; checked on every answer of every test",
        Test("attack_09_a_settlement_that_takes_too_long_is_503_and_no_challenge"),
    ),
    (
        "Fee Token Exhaustion",
        "the balance is monitored, and new payment requests rejected when it is insufficient",
        Test("attack_12_a_sponsor_without_money_asks_for_no_sponsored_payments"),
    ),
    (
        "Server-Paid Fees",
        "no more is sponsored than there is budget for",
        Test("attack_12_daily_budgets_in_total_and_per_payer_on_every_engine"),
    ),
];

#[test]
fn every_must_of_the_drafts_has_its_test() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/api");
    let mut sources = String::new();
    for entry in std::fs::read_dir(folder).expect("the sources of this program") {
        let path = entry.expect("an entry").path();
        if path.file_name() != Some("musts.rs".as_ref()) {
            sources.push_str(&std::fs::read_to_string(path).expect("text"));
        }
    }
    for (section, rule, kept) in CORE.iter().chain(&CHARGE) {
        match kept {
            Test(name) => {
                let test = format!("#[test]\nfn {name}()");
                assert!(sources.contains(&test), "{section}: {rule}: there is no test {name}");
            }
            Because(why) => assert!(!why.is_empty(), "{section}: {rule}"),
        }
    }
}
