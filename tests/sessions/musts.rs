//! Every MUST of the session draft that binds a server of version 2, and the test that covers it.

use std::path::Path;

/// Evidence that a rule is kept.
enum Kept {
    /// By the test of this name.
    Test(&'static str),
    /// By something that is no test here, or not at all: why.
    Because(&'static str),
}

use Kept::{Because, Test};

/// draft-tempo-session-00: section, what it demands, how it is kept.
const SESSION: &[(&str, &str, Kept)] = &[
    (
        "Concurrency Model",
        "vouchers from other connections change a balance as a whole or not at all",
        Test("attack_14_equal_and_higher_vouchers_at_once_credit_each_amount_once"),
    ),
    (
        "Concurrency Model",
        "accepting and charging take turns on a channel",
        Test("attack_18_a_newer_stream_ends_the_older"),
    ),
    (
        "Hexadecimal Values",
        "written in lower case, with 0x, in full length",
        Test("a_challenge_says_all_that_opening_a_channel_needs"),
    ),
    (
        "Channel Descriptor",
        "the channel's id is computed from the descriptor, escrow and chain, and another one refused",
        Test("a_descriptor_of_another_channel_is_refused_with_every_action"),
    ),
    (
        "Channel Descriptor",
        "payee, token and operator are those of the challenge, the nonce hash that of the transaction",
        Test("attack_13_channels_of_other_terms_are_refused_before_broadcast"),
    ),
    (
        "Channel Descriptor",
        "deposits, vouchers and captures beyond 96 bits are refused",
        Test("missing_fields_are_named_and_amounts_beyond_96_bits_refused"),
    ),
    (
        "Request Schema",
        "amount, currency, recipient and escrow are there",
        Test("a_challenge_says_all_that_opening_a_channel_needs"),
    ),
    (
        "Method Details",
        "version 2 says chain and escrow",
        Test("a_challenge_says_all_that_opening_a_channel_needs"),
    ),
    (
        "Session Snapshot",
        "the required members of a snapshot are there",
        Test("a_refusal_to_a_known_payer_says_how_its_channel_stands"),
    ),
    (
        "Session Snapshot",
        "the same in the header of a bootstrap",
        Test("a_wallet_that_proves_itself_gets_its_channel"),
    ),
    (
        "Fee Payment, Server Requirements",
        "the sponsor has money for fees",
        Test("attack_12_a_sponsor_without_money_asks_for_no_sponsored_payments"),
    ),
    (
        "Fee Payment, Server Requirements",
        "a transaction is checked before its fee is signed for",
        Test("the_fee_of_another_transaction_is_not_sponsored"),
    ),
    (
        "Fee Payment, Server Requirements",
        "unknown actions are refused",
        Test("unknown_fields_are_ignored_and_unknown_actions_refused"),
    ),
    (
        "Credential Structure",
        "unknown fields are ignored",
        Test("unknown_fields_are_ignored_and_unknown_actions_refused"),
    ),
    (
        "Payload Actions",
        "what each action requires is required",
        Test("missing_fields_are_named_and_amounts_beyond_96_bits_refused"),
    ),
    (
        "Open Payload",
        "the descriptor is that of transaction, challenge and id",
        Test("attack_13_channels_of_other_terms_are_refused_before_broadcast"),
    ),
    (
        "Open Payload",
        "a signer named beside the descriptor is the descriptor's",
        Test("a_delegate_signs_vouchers_and_nobody_else"),
    ),
    (
        "TopUp Payload",
        "an unknown or expired challenge is challenge-not-found",
        Test("a_challenge_that_is_unknown_or_over_is_not_found"),
    ),
    (
        "Close Payload",
        "a descriptor that is not the stored channel's is refused",
        Test("a_descriptor_of_another_channel_is_refused_with_every_action"),
    ),
    (
        "Voucher Signing Format",
        "the typed data is rebuilt from version, chain and escrow before a signature is checked",
        Test("attack_14_only_a_canonical_signature_of_the_signer_counts"),
    ),
    (
        "Open Verification 1",
        "the transaction is decoded, and opens this channel with these parameters",
        Test("attack_13_channels_of_other_terms_are_refused_before_broadcast"),
    ),
    (
        "Open Verification 1",
        "the receipt shows the opening before the credential is accepted",
        Test("attack_30_an_outcome_that_cannot_be_looked_up_stays_open_until_it_can"),
    ),
    (
        "Open Verification 2",
        "the escrow is asked for the channel's state",
        Because(
            "the event of the opening, from the receipt of its block, says the same without a read that may be stale",
        ),
    ),
    (
        "Open Verification 2",
        "the deposit covers the price of a unit",
        Test("attack_13_an_open_below_one_unit_is_refused_before_broadcast"),
    ),
    (
        "Open Verification 3",
        "the first voucher is signed by the channel's signer",
        Test("a_delegate_signs_vouchers_and_nobody_else"),
    ),
    (
        "Open Verification 4",
        "the channel is known from then on",
        Test("attack_19_a_restart_keeps_channels_vouchers_and_charges_on_every_engine"),
    ),
    (
        "TopUp Verification 1",
        "the transaction tops this channel up by what the payload says, in its receipt too",
        Test("attack_13_an_unrelated_top_up_adds_nothing"),
    ),
    (
        "TopUp Verification 1",
        "the descriptor is the stored channel's",
        Test("a_descriptor_of_another_channel_is_refused_with_every_action"),
    ),
    (
        "TopUp Verification 2",
        "the deposit rose on the chain",
        Test("attack_30_a_failure_that_is_called_a_success_adds_nothing"),
    ),
    (
        "TopUp Verification 3",
        "vouchers can reach that much further",
        Test("a_stream_beyond_the_deposit_waits_for_a_top_up_and_a_voucher"),
    ),
    (
        "Voucher Verification 1",
        "the descriptor is checked",
        Test("a_descriptor_of_another_channel_is_refused_with_every_action"),
    ),
    (
        "Voucher Verification 2, 3",
        "the signature is good, with a low s",
        Test("attack_14_forged_vouchers_change_nothing_and_learn_nothing"),
    ),
    (
        "Voucher Verification 4",
        "by the signer that the channel names on the chain, whatever the payload claims",
        Test("a_delegate_signs_vouchers_and_nobody_else"),
    ),
    (
        "Voucher Verification 5",
        "no voucher is accepted once the payer asked the chain to close",
        Test("attack_15_stale_reads_neither_lower_a_deposit_nor_reopen_a_channel"),
    ),
    (
        "Voucher Verification 6",
        "vouchers only rise; the same again changes nothing",
        Test("attack_14_lower_equal_and_above_the_deposit"),
    ),
    (
        "Voucher Verification 6",
        "by the least step at least",
        Test("attack_14_lower_equal_and_higher_vouchers"),
    ),
    ("Voucher Verification 7", "up to the deposit", Test("attack_14_lower_equal_and_above_the_deposit")),
    (
        "Voucher Verification 8, 9",
        "the highest is durable before anything is served on it",
        Test("attack_30_a_disk_full_at_each_table_takes_one_deposit_and_one_payment"),
    ),
    (
        "Voucher Verification",
        "claims of signers in payloads are not trusted",
        Test("attack_16_a_outsider_cannot_authorise_a_close"),
    ),
    (
        "Idempotency",
        "an equal voucher succeeds with what is accepted (204 where no content is asked for)",
        Test("attack_14_lower_equal_and_above_the_deposit"),
    ),
    ("Idempotency", "a lower one is refused", Test("attack_14_lower_equal_and_above_the_deposit")),
    (
        "Rejection and Error Responses",
        "an invalid credential is 402 with a fresh challenge and a problem; checked on every answer",
        Test("attack_14_forged_vouchers_change_nothing_and_learn_nothing"),
    ),
    (
        "Rejection and Error Responses",
        "a closed channel is 410",
        Test("attack_19_a_restart_keeps_channels_vouchers_and_charges_on_every_engine"),
    ),
    (
        "Rejection and Error Responses",
        "a malformed payload is 400",
        Because("the core draft and the clients want 402 with a new challenge and malformed-credential"),
    ),
    (
        "Accounting State",
        "accepted, spent, settled, deposit and close request are kept",
        Test("a_refusal_to_a_known_payer_says_how_its_channel_stands"),
    ),
    ("Accounting State", "by the id in lower case", Test("attack_13_a_mixed_case_id_is_the_same_channel")),
    (
        "Accounting State",
        "changes of a channel have one order",
        Test("attack_14_equal_and_higher_vouchers_at_once_credit_each_amount_once"),
    ),
    (
        "Per-Request Processing 1",
        "the voucher is durable, or refused with a challenge",
        Test("attack_30_a_disk_full_at_each_table_takes_one_deposit_and_one_payment"),
    ),
    (
        "Per-Request Processing 2",
        "a request that is not covered is told what is missing",
        Test("a_short_request_names_the_missing_amount"),
    ),
    (
        "Per-Request Processing 3",
        "what is delivered was charged durably before",
        Test("attack_30_no_chunk_arrives_before_its_charge_is_in_the_database"),
    ),
    (
        "Per-Request Processing 4",
        "the receipt says the balance",
        Test("a_stream_carries_a_receipt_first_and_last"),
    ),
    (
        "Crash Safety",
        "spent is durable before delivery",
        Test("attack_30_a_charge_that_cannot_be_written_delivers_nothing"),
    ),
    (
        "Crash Safety",
        "accepted is durable before it is relied upon",
        Test("attack_19_a_restart_keeps_channels_vouchers_and_charges_on_every_engine"),
    ),
    (
        "Request Idempotency",
        "a request that is recognised as a repetition is not charged",
        Test("a_request_is_charged_once_under_one_key"),
    ),
    (
        "Request Idempotency",
        "clients are warned that one without a key is charged again",
        Test("clients_are_warned_that_chat_sent_again_is_charged_again"),
    ),
    (
        "Cost Calculation",
        "fixed or by usage: by chunk, or by token of a whole answer",
        Test("attack_21_a_stream_costs_its_chunks_whatever_usage_is_reported"),
    ),
    (
        "Insufficient Balance During Streaming",
        "nothing more is delivered, the client is asked, with all that it needs, and waited for",
        Test("a_stream_beyond_the_deposit_waits_for_a_top_up_and_a_voucher"),
    ),
    (
        "Cooperative Close",
        "no more is captured than was delivered, and neither voucher nor deposit is exceeded",
        Test("attack_16_capture_is_what_was_spent_whatever_the_voucher_allows"),
    ),
    (
        "Receipt Generation",
        "every paid request that succeeded has a receipt",
        Test("every_action_that_worked_has_a_receipt"),
    ),
    (
        "Receipt Generation",
        "streams have one in the head and one at the end",
        Test("a_stream_carries_a_receipt_first_and_last"),
    ),
    (
        "Denial of Service",
        "the rate of vouchers is limited",
        Test("vouchers_of_one_channel_are_limited_and_only_by_its_own_payer"),
    ),
    (
        "Denial of Service",
        "the least step is enforced where there is one",
        Test("attack_14_lower_equal_and_higher_vouchers"),
    ),
    (
        "Signature Malleability",
        "a high s is refused, both formats are accepted",
        Test("attack_14_only_a_canonical_signature_of_the_signer_counts"),
    ),
    (
        "Signature Malleability",
        "the compact format settles too",
        Test("a_compact_signature_is_accepted_and_settles"),
    ),
    (
        "Session Attribution",
        "what is served for vouchers is kept with the challenge it came with",
        Test("an_entry_names_the_challenge_that_it_was_served_for"),
    ),
    (
        "Session Receipt Schema",
        "no receipt on errors, problem details instead; checked on every answer of every test",
        Test("attack_21_a_whole_answer_that_fails_is_free"),
    ),
];

/// Parties that the other MUSTs bind.
const NOT_OURS: &[(&str, &str)] = &[
    ("Protocol Versions", "clients answer with the protocol that was asked for"),
    ("Contract-Backed Channel State", "version 1, which is not offered"),
    ("Contract Functions, Access Control, Signature Verification", "the escrow contract"),
    ("Method Details", "clients check a deposit before they resume, and leave an absent operator zero"),
    ("Session Snapshot", "clients check a snapshot before they use it"),
    ("Client-Paid Fees, Client Requirements", "clients name a fee token or leave it to the sponsor"),
    ("Open Payload, TopUp Payload", "clients include descriptor and challenge"),
    ("Signing Procedure", "clients sign"),
    ("Insufficient Balance During Streaming", "clients top up before they go beyond the deposit"),
    ("Grace Period Rationale", "who deploys an escrow documents its grace period"),
];

fn read(folder: &Path, sources: &mut String) {
    for entry in std::fs::read_dir(folder).expect("the sources of this program") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            read(&path, sources);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            sources.push_str(&std::fs::read_to_string(path).expect("text"));
        }
    }
}

#[test]
fn every_must_of_the_session_draft_has_its_test() {
    let mut sources = String::new();
    for folder in ["tests", "src", "crates"] {
        read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut sources);
    }
    // However it is indented.
    let sources = sources.split_whitespace().collect::<Vec<_>>().join(" ");
    for (section, rule, kept) in SESSION {
        match kept {
            Test(name) => {
                let test = format!("#[test] fn {name}()");
                assert!(sources.contains(&test), "{section}: {rule}: there is no test {name}");
            }
            Because(why) => assert!(!why.is_empty(), "{section}: {rule}"),
        }
    }
    assert!(NOT_OURS.iter().all(|(section, whose)| !section.is_empty() && !whose.is_empty()));
}
