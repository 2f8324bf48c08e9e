//! Answers of the proxy beside or instead of anvil's.

use alloy::primitives::{Address, B256, Signature, U256};
use alloy::signers::SignerSync;
use farebox::devnet::TOKENS;
use futures_util::future::join_all;
use serde_json::json;
use tempo_alloy::rpc::TempoTransactionReceipt;
use tempo_primitives::transaction::Call;

use crate::{devnet, exchange, payment, result, signed, transaction, transfer, wait_for_receipt};

#[tokio::test]
async fn the_faucet_gives_every_token_also_to_many_at_once() {
    let devnet = devnet().await;
    assert!(devnet.additions().faucet);
    let people = [Address::repeat_byte(1), Address::repeat_byte(2), Address::repeat_byte(3)];
    let funding = people.map(|person| result(&devnet, "tempo_fundAddress", json!([person])));
    for hashes in join_all(funding).await {
        let hashes: Vec<B256> = serde_json::from_value(hashes).unwrap();
        assert_eq!(hashes.len(), TOKENS.len());
        for hash in hashes {
            assert_eq!(wait_for_receipt(&devnet, hash).await["status"], "0x1");
        }
    }
    for person in people {
        for token in TOKENS {
            assert_eq!(devnet.balance(token, person).await.unwrap(), U256::from(1_000_000_000_000_u64));
        }
    }
    assert_eq!(exchange(&devnet, "tempo_fundAddress", json!(["x"])).await.unwrap()["error"]["code"], -32602);
    devnet.stop().await;
}

#[tokio::test]
async fn simulation_is_refused_with_the_code_on_which_clients_fall_back() {
    let devnet = devnet().await;
    let answer = exchange(&devnet, "tempo_simulateV1", json!([{ "blockStateCalls": [] }])).await.unwrap();
    assert_eq!(answer["error"]["code"], -32601);
    devnet.stop().await;
}

#[tokio::test]
async fn receipts_name_who_paid_the_fee_and_in_what() {
    let devnet = devnet().await;
    let sponsor = devnet.accounts()[1].clone();
    let (mut sponsored, sender) = transaction(&devnet, 0, vec![transfer(Address::repeat_byte(9), 1)]);
    sponsored.fee_payer_signature = Some(Signature::test_signature());
    let approval = sponsored.fee_payer_signature_hash(sender.address());
    sponsored.fee_payer_signature = Some(sponsor.sign_hash_sync(&approval).unwrap());
    let (raw, hash) = signed(sponsored, &sender);

    let sent = result(&devnet, "eth_sendRawTransactionSync", json!([raw])).await;
    let read = result(&devnet, "eth_getTransactionReceipt", json!([hash])).await;
    let block = result(&devnet, "eth_getBlockReceipts", json!([read["blockNumber"]])).await;
    for receipt in [&sent, &read, &block[0]] {
        assert_eq!(receipt["feePayer"].as_str().unwrap().parse(), Ok(sponsor.address()));
        assert_eq!(receipt["feeToken"].as_str().unwrap().parse(), Ok(TOKENS[2]));
        assert_eq!(receipt["from"].as_str().unwrap().parse(), Ok(sender.address()));
    }
    let parsed: Result<TempoTransactionReceipt, _> = serde_json::from_value(read);
    assert_eq!(parsed.unwrap().fee_token, Some(TOKENS[2]));
    devnet.stop().await;
}

#[tokio::test]
async fn a_question_that_would_end_anvil_is_refused() {
    let devnet = devnet().await;
    let (raw, hash) = payment(&devnet, 0);
    result(&devnet, "eth_sendRawTransactionSync", json!([raw])).await;
    let refused = exchange(&devnet, "eth_getRawTransactionByHash", json!([hash])).await.unwrap();
    assert_eq!(refused["error"]["code"], -32601);
    result(&devnet, "eth_chainId", json!([])).await;
    devnet.stop().await;
}

#[tokio::test]
async fn estimates_look_at_every_call_of_a_batch_and_suffice() {
    let devnet = devnet().await;
    assert!(devnet.additions().batch_gas);
    let calls: Vec<Call> = (20..26).map(|byte| transfer(Address::repeat_byte(byte), 1)).collect();
    let (mut batch, sender) = transaction(&devnet, 0, calls);
    let request = json!([{ "from": sender.address(), "type": "0x76", "calls": batch.calls }]);
    let estimate = result(&devnet, "eth_estimateGas", request.clone()).await;
    let filled = result(&devnet, "eth_fillTransaction", request).await;
    assert_eq!(filled["tx"]["gas"], estimate);

    batch.gas_limit = estimate.as_str().unwrap().parse::<U256>().unwrap().to();
    let receipt = result(&devnet, "eth_sendRawTransactionSync", json!([signed(batch, &sender).0])).await;
    assert_eq!(receipt["status"], "0x1", "{receipt}");

    let overdraft = json!([{ "from": Address::repeat_byte(77), "calls": [transfer(sender.address(), 1)] }]);
    let refused = exchange(&devnet, "eth_estimateGas", overdraft).await.unwrap();
    assert_eq!(refused["error"]["code"], 3);
    devnet.stop().await;
}
