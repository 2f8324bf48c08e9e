//! The channel reserve: what the `mpp` library signs works on it, and the contract and the proxy
//! keep the rules of TIP-1034 together.

use std::time::Duration;

use alloy::primitives::aliases::U96;
use alloy::primitives::{Address, B256, Bytes, Signature, U256};
use alloy::providers::{Provider, ProviderBuilder};
use alloy::signers::SignerSync;
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::{SolCall, SolError, SolEvent, eip712_domain};
use farebox::devnet::{Devnet, Fault, Rule, TOKENS};
use futures_util::future::join_all;
use mpp::client::channel_ops::{
    OpenPrecompilePayloadOptions, TopUpPrecompilePayloadOptions, compute_expiring_nonce_hash,
    compute_fee_payer_expiring_nonce_hash, create_precompile_open_payload,
    create_precompile_top_up_transaction_payload, precompile_descriptor_from_wire,
};
use mpp::protocol::methods::tempo::session::SessionCredentialPayload;
use mpp::protocol::methods::tempo::{
    compute_precompile_channel_id, precompile_voucher_signing_hash, sign_precompile_voucher,
};
use serde_json::{Value, json};
use tempo_alloy::TempoNetwork;
use tempo_contracts::precompiles::ITIP20ChannelReserve as Abi;
use tempo_contracts::precompiles::TIP20_CHANNEL_RESERVE_ADDRESS as RESERVE;
use tempo_primitives::transaction::Call;

use crate::{CHAIN_ID, devnet, exchange, payment, result, signed, transaction, wait_for_receipt};

/// The channels' token. Fees are paid in another one, so that its balances come out exact.
const TOKEN: Address = TOKENS[1];
const FEE_TOKEN: Address = TOKENS[2];
/// A payee that does nothing.
const PAYEE: Address = Address::repeat_byte(9);
/// Deposit of the payers.
const DEPOSIT: u128 = 1_000_000;
/// A sponsor of Tempo's libraries pays for no more gas.
const SPONSORS_LIMIT: u64 = 2_000_000;

#[tokio::test]
async fn ids_and_digests_are_those_that_clients_compute() {
    let devnet = devnet().await;
    assert!(devnet.additions().reserve);
    let provider = provider(&devnet);
    let reserve = Abi::new(RESERVE, &provider);

    let [payer, payee, operator, signer] = [1, 2, 3, 4].map(Address::repeat_byte);
    let [salt, context] = [5, 6].map(B256::repeat_byte);
    let id = compute_precompile_channel_id(payer, payee, operator, TOKEN, salt, signer, context, CHAIN_ID);
    let computed = reserve.computeChannelId(payer, payee, operator, TOKEN, salt, signer, context);
    assert_eq!(computed.call().await.unwrap(), id);

    for amount in [0, 1, (1 << 96) - 1] {
        let digest = precompile_voucher_signing_hash(id, amount, CHAIN_ID).unwrap();
        assert_eq!(reserve.getVoucherDigest(id, U96::from(amount)).call().await.unwrap(), digest);
    }
    let domain = eip712_domain! {
        name: "TIP20 Channel Reserve", version: "1", chain_id: CHAIN_ID, verifying_contract: RESERVE,
    };
    assert_eq!(reserve.domainSeparator().call().await.unwrap(), domain.separator());
    devnet.stop().await;
}

/// Open, settle, top up, close: the payer is the `mpp` library's client, the payee sends its own.
#[tokio::test]
async fn a_channel_lives_from_open_to_close_to_the_unit() {
    let devnet = devnet().await;
    let provider = provider(&devnet);
    let reserve = Abi::new(RESERVE, &provider);
    let (payee, payer) = (devnet.accounts()[0].clone(), devnet.accounts()[1].clone());

    let channel = Channel::prepare(&devnet, &payer, payee.address()).await;
    let receipt = result(&devnet, "eth_sendRawTransactionSync", json!([channel.transaction])).await;
    let opened = event::<Abi::ChannelOpened>(&receipt);
    assert_eq!((opened.channelId, opened.deposit), (channel.id, U96::from(DEPOSIT)));
    assert_eq!(Channel::of(&opened).descriptor, channel.descriptor);
    let block = receipt["blockNumber"].as_str().unwrap().parse::<U256>().unwrap().to::<u64>();
    let state = reserve.getChannelState(channel.id).block(block.into()).call().await.unwrap();
    assert_eq!(state, state_of(0, DEPOSIT));
    assert_eq!(spent(&devnet, &payer).await, DEPOSIT);

    let receipt = send(&devnet, &payee, 0, channel.settle(&payer, 300).await).await;
    let settled = event::<Abi::Settled>(&receipt);
    assert_eq!((settled.deltaPaid, settled.newSettled), (U96::from(300), U96::from(300)));

    let more = channel.top_up(&devnet, &payer, 500).await;
    let receipt = result(&devnet, "eth_sendRawTransactionSync", json!([more])).await;
    let topped_up = event::<Abi::TopUp>(&receipt);
    assert_eq!(topped_up.newDeposit, U96::from(DEPOSIT + 500));
    let both = reserve.getChannelStatesBatch(vec![B256::ZERO, channel.id]).call().await.unwrap();
    assert_eq!(both, [state_of(0, 0), state_of(300, DEPOSIT + 500)]);
    let read = reserve.getChannel(channel.descriptor.clone()).call().await.unwrap();
    assert_eq!((read.descriptor, read.state), (channel.descriptor.clone(), both[1].clone()));

    // The voucher may be above the deposit, the capture may not.
    let receipt = send(&devnet, &payee, 1, channel.close(&payer, 2 * DEPOSIT, DEPOSIT).await).await;
    let closed = event::<Abi::ChannelClosed>(&receipt);
    assert_eq!((closed.settledToPayee, closed.refundedToPayer), (U96::from(DEPOSIT), U96::from(500)));
    assert_eq!(reserve.getChannelState(channel.id).call().await.unwrap(), state_of(0, 0));
    assert_eq!(spent(&devnet, &payer).await, DEPOSIT);
    assert_eq!(
        devnet.balance(TOKEN, payee.address()).await.unwrap(),
        U256::from(u64::MAX) + U256::from(DEPOSIT)
    );
    assert_eq!(devnet.balance(TOKEN, RESERVE).await.unwrap(), U256::ZERO);
    devnet.stop().await;
}

#[tokio::test]
async fn the_payer_gets_the_rest_back_after_the_time_of_grace() {
    let devnet = devnet().await;
    let (payer, payee) = (devnet.accounts()[0].clone(), devnet.accounts()[1].clone());
    // A transaction with an ordinary nonce opens a channel as well.
    let receipt = send(&devnet, &payer, 0, open_call(payee.address(), DEPOSIT)).await;
    let opened = event::<Abi::ChannelOpened>(&receipt);
    let channel = Channel::of(&opened);
    send(&devnet, &payee, 0, channel.settle(&payer, 400).await).await;

    let request = call(&Abi::requestCloseCall { descriptor: channel.descriptor.clone() });
    let receipt = send(&devnet, &payer, 1, request).await;
    let requested = event::<Abi::CloseRequested>(&receipt);
    let withdraw = call(&Abi::withdrawCall { descriptor: channel.descriptor.clone() });
    assert_eq!(refused(&devnet, &payer, &withdraw).await, Abi::CloseNotReady::SELECTOR);

    result(&devnet, "evm_increaseTime", json!([900])).await;
    result(&devnet, "evm_mine", json!([])).await;
    let receipt = send(&devnet, &payer, 2, withdraw).await;
    let closed = event::<Abi::ChannelClosed>(&receipt);
    assert_eq!((closed.settledToPayee, closed.refundedToPayer), (U96::from(400), U96::from(DEPOSIT - 400)));
    let block = result(&devnet, "eth_getBlockByNumber", json!([receipt["blockNumber"], false])).await;
    let withdrawn: U256 = block["timestamp"].as_str().unwrap().parse().unwrap();
    assert!(withdrawn >= requested.closeGraceEnd);
    assert_eq!(spent(&devnet, &payer).await, 400);
    devnet.stop().await;
}

#[tokio::test]
async fn channels_opened_at_once_keep_their_own_hashes() {
    let devnet = devnet().await;
    let payers = &devnet.accounts()[1..7];
    let channels = join_all(payers.iter().map(|payer| Channel::prepare(&devnet, payer, PAYEE))).await;
    let methods = ["eth_sendRawTransaction", "eth_sendRawTransactionSync"];
    let sent = channels.iter().zip(methods.iter().cycle());
    join_all(sent.map(|(channel, method)| result(&devnet, method, json!([channel.transaction])))).await;
    for channel in &channels {
        let receipt = wait_for_receipt(&devnet, channel.hash()).await;
        assert_eq!(event::<Abi::ChannelOpened>(&receipt).channelId, channel.id);
    }
    assert_eq!(devnet.balance(TOKEN, RESERVE).await.unwrap(), U256::from(DEPOSIT) * U256::from(payers.len()));
    devnet.stop().await;
}

/// The sponsor signs after the payer has computed the id, and must not change it.
#[tokio::test]
async fn a_sponsored_open_has_the_id_that_its_payer_computed() {
    let devnet = devnet().await;
    let sponsor = devnet.accounts()[1].clone();
    let (mut open, payer) = transaction(&devnet, 0, vec![open_call(PAYEE, DEPOSIT)]);
    let context = compute_fee_payer_expiring_nonce_hash(&open, payer.address());
    open.fee_payer_signature = Some(Signature::test_signature());
    let approval = open.fee_payer_signature_hash(payer.address());
    open.fee_payer_signature = Some(sponsor.sign_hash_sync(&approval).unwrap());
    let (raw, _) = signed(open, &payer);
    let receipt = result(&devnet, "eth_sendRawTransactionSync", json!([raw])).await;
    assert_eq!(event::<Abi::ChannelOpened>(&receipt).expiringNonceHash, context);
    devnet.stop().await;
}

#[tokio::test]
async fn calls_and_estimates_of_an_open_need_no_transaction() {
    let devnet = devnet().await;
    let payer = devnet.accounts()[0].clone();
    let open = open_call(PAYEE, DEPOSIT);
    let alone = json!([{ "from": payer.address(), "to": RESERVE, "data": open.input }]);
    result(&devnet, "eth_call", alone.clone()).await;
    let batch = json!([{ "from": payer.address(), "calls": [open] }]);
    result(&devnet, "eth_call", batch.clone()).await;

    let estimate = result(&devnet, "eth_estimateGas", batch.clone()).await;
    let filled = result(&devnet, "eth_fillTransaction", batch).await;
    assert_eq!(filled["tx"]["gas"], estimate);
    result(&devnet, "eth_estimateGas", alone).await;

    let nothing = open_call(PAYEE, 0);
    assert_eq!(refused(&devnet, &payer, &nothing).await, Abi::ZeroDeposit::SELECTOR);

    let gas: u64 = estimate.as_str().unwrap().parse::<U256>().unwrap().to();
    assert!(gas < SPONSORS_LIMIT, "{gas}");
    let (mut sufficient, payer) = transaction(&devnet, 0, vec![open]);
    sufficient.gas_limit = gas;
    let receipt = result(&devnet, "eth_sendRawTransactionSync", json!([signed(sufficient, &payer).0])).await;
    assert_eq!(receipt["status"], "0x1", "{receipt}");
    devnet.stop().await;
}

#[tokio::test]
async fn an_open_that_the_chain_does_not_take_holds_up_no_other() {
    let devnet = devnet().await;
    let (refused, account) = transaction(&devnet, 0, vec![open_call(PAYEE, 1)]);
    let refused = tempo_primitives::TempoTransaction { chain_id: 1, ..refused };
    let answer =
        exchange(&devnet, "eth_sendRawTransaction", json!([signed(refused, &account).0])).await.unwrap();
    assert!(answer.get("error").is_some(), "{answer}");
    let unsigned = json!([{ "from": account.address(), "to": RESERVE, "data": open_call(RESERVE, 1).input }]);
    let answer = exchange(&devnet, "eth_sendTransaction", unsigned).await.unwrap();
    assert_eq!(answer["error"]["code"], -32602);

    // One that reverts, one whose answer is lost, one whose client hangs up before the answer.
    let (reverting, _) = transaction(&devnet, 0, vec![open_call(PAYEE, 0)]);
    let receipt = result(&devnet, "eth_sendRawTransactionSync", json!([signed(reverting, &account).0])).await;
    assert_eq!(receipt["status"], "0x0");
    devnet.faults().set(Rule::new(Fault::DropAfterIncluding).times(1));
    let lost = Channel::prepare(&devnet, &devnet.accounts()[1], PAYEE).await;
    assert!(exchange(&devnet, "eth_sendRawTransaction", json!([lost.transaction])).await.is_err());
    let hung_up = Channel::prepare(&devnet, &devnet.accounts()[2], PAYEE).await;
    let before = devnet.broadcasts();
    tokio::select! {
        _ = exchange(&devnet, "eth_sendRawTransactionSync", json!([hung_up.transaction])) => {}
        () = async {
            while devnet.broadcasts() == before {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        } => {}
    }

    let next = Channel::prepare(&devnet, &devnet.accounts()[3], PAYEE).await;
    let receipt = result(&devnet, "eth_sendRawTransactionSync", json!([next.transaction])).await;
    assert_eq!(event::<Abi::ChannelOpened>(&receipt).channelId, next.id);
    for unheard in [lost, hung_up] {
        let receipt = wait_for_receipt(&devnet, unheard.hash()).await;
        assert_eq!(event::<Abi::ChannelOpened>(&receipt).channelId, unheard.id);
    }
    devnet.stop().await;
}

/// An open may have to wait for the transaction before it.
#[tokio::test]
async fn an_open_that_waits_for_its_nonce_keeps_its_hash() {
    let devnet = devnet().await;
    let (open, payer) = transaction(&devnet, 1, vec![open_call(PAYEE, DEPOSIT)]);
    let context = compute_expiring_nonce_hash(&open, payer.address());
    let (waiting, hash) = signed(open, &payer);
    result(&devnet, "eth_sendRawTransaction", json!([waiting])).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(result(&devnet, "eth_getTransactionReceipt", json!([hash])).await, Value::Null);

    result(&devnet, "eth_sendRawTransaction", json!([payment(&devnet, 0).0])).await;
    let receipt = wait_for_receipt(&devnet, hash).await;
    assert_eq!(event::<Abi::ChannelOpened>(&receipt).expiringNonceHash, context);
    devnet.stop().await;
}

/// A channel as its payer sees it.
struct Channel {
    id: B256,
    descriptor: Abi::ChannelDescriptor,
    wire: Option<mpp::protocol::methods::tempo::session::ChannelDescriptor>,
    /// The signed transaction that opens it; empty when it is open already.
    transaction: String,
}

impl Channel {
    /// The credential of the `mpp` library's client for a challenge: a signed transaction, not sent yet.
    async fn prepare(devnet: &Devnet, payer: &PrivateKeySigner, payee: Address) -> Self {
        let options = OpenPrecompilePayloadOptions {
            prefix_calls: Vec::new(),
            operator: Address::ZERO,
            authorized_signer: None,
            payee,
            currency: TOKEN,
            fee_token: FEE_TOKEN,
            deposit: DEPOSIT,
            initial_amount: 0,
            chain_id: CHAIN_ID,
            fee_payer: false,
            salt: Some(B256::repeat_byte(7)),
        };
        let (entry, payload) =
            create_precompile_open_payload(&provider(devnet), payer, None, payer.address(), options)
                .await
                .unwrap();
        let SessionCredentialPayload::Open { transaction, .. } = payload else {
            panic!("not an open: {payload:?}");
        };
        let descriptor = precompile_descriptor_from_wire(entry.descriptor.as_ref().unwrap()).unwrap();
        Self { id: entry.channel_id, descriptor, wire: entry.descriptor, transaction }
    }

    /// A channel that is open.
    fn of(opened: &Abi::ChannelOpened) -> Self {
        let descriptor = Abi::ChannelDescriptor {
            payer: opened.payer,
            payee: opened.payee,
            operator: opened.operator,
            token: opened.token,
            salt: opened.salt,
            authorizedSigner: opened.authorizedSigner,
            expiringNonceHash: opened.expiringNonceHash,
        };
        Self { id: opened.channelId, descriptor, wire: None, transaction: String::new() }
    }

    /// The hash of the transaction that opens it.
    fn hash(&self) -> B256 {
        alloy::primitives::keccak256(self.transaction.parse::<Bytes>().unwrap())
    }

    async fn settle(&self, payer: &PrivateKeySigner, amount: u128) -> Call {
        let signature = sign_precompile_voucher(payer, self.id, amount, CHAIN_ID).await.unwrap();
        let descriptor = self.descriptor.clone();
        call(&Abi::settleCall { descriptor, cumulativeAmount: U96::from(amount), signature })
    }

    async fn close(&self, payer: &PrivateKeySigner, amount: u128, capture: u128) -> Call {
        let signature = sign_precompile_voucher(payer, self.id, amount, CHAIN_ID).await.unwrap();
        call(&Abi::closeCall {
            descriptor: self.descriptor.clone(),
            cumulativeAmount: U96::from(amount),
            captureAmount: U96::from(capture),
            signature,
        })
    }

    /// The library's signed transaction that adds to the deposit.
    async fn top_up(&self, devnet: &Devnet, payer: &PrivateKeySigner, additional_deposit: u128) -> String {
        let options = TopUpPrecompilePayloadOptions {
            prefix_calls: Vec::new(),
            descriptor: self.wire.as_ref().unwrap(),
            fee_token: FEE_TOKEN,
            additional_deposit,
            chain_id: CHAIN_ID,
            fee_payer: false,
        };
        let provider = provider(devnet);
        let payload =
            create_precompile_top_up_transaction_payload(&provider, payer, None, payer.address(), options)
                .await
                .unwrap();
        let SessionCredentialPayload::TopUp { transaction, .. } = payload else {
            panic!("not a top-up: {payload:?}");
        };
        transaction
    }
}

fn provider(devnet: &Devnet) -> impl Provider<TempoNetwork> + use<> {
    ProviderBuilder::new_with_network::<TempoNetwork>().connect_http(devnet.rpc_url().parse().unwrap())
}

fn call(call: &impl SolCall) -> Call {
    Call { to: RESERVE.into(), value: U256::ZERO, input: call.abi_encode().into() }
}

fn open_call(payee: Address, deposit: u128) -> Call {
    call(&Abi::openCall {
        payee,
        operator: Address::ZERO,
        token: TOKEN,
        deposit: U96::from(deposit),
        salt: B256::ZERO,
        authorizedSigner: Address::ZERO,
    })
}

/// Sends one call in `sender`'s name and returns the receipt of its success.
async fn send(devnet: &Devnet, sender: &PrivateKeySigner, nonce: u64, call: Call) -> Value {
    let (transaction, _) = transaction(devnet, nonce, vec![call]);
    let (raw, _) = signed(transaction, sender);
    let receipt = result(devnet, "eth_sendRawTransactionSync", json!([raw])).await;
    assert_eq!(receipt["status"], "0x1", "{receipt}");
    receipt
}

/// The selector of the contract's error in a call that is only simulated.
async fn refused(devnet: &Devnet, sender: &PrivateKeySigner, call: &Call) -> [u8; 4] {
    let request = json!([{ "from": sender.address(), "calls": [call] }]);
    let answer = exchange(devnet, "eth_call", request).await.unwrap();
    let data: Bytes = answer["error"]["data"].as_str().unwrap_or_else(|| panic!("{answer}")).parse().unwrap();
    data[..4].try_into().unwrap()
}

/// The one event of its kind that the reserve emitted.
fn event<E: SolEvent>(receipt: &Value) -> E {
    let logs: Vec<alloy::rpc::types::Log> = serde_json::from_value(receipt["logs"].clone()).unwrap();
    let of_reserve = logs.iter().filter(|log| log.address() == RESERVE);
    let found: Vec<E> =
        of_reserve.filter_map(|log| E::decode_log(&log.inner).ok()).map(|log| log.data).collect();
    let [event] = <[E; 1]>::try_from(found).unwrap_or_else(|_| panic!("{} in {receipt}", E::SIGNATURE));
    event
}

fn state_of(settled: u128, deposit: u128) -> Abi::ChannelState {
    Abi::ChannelState { settled: U96::from(settled), deposit: U96::from(deposit), closeRequestedAt: 0 }
}

/// Base units of the channels' token that a dev account has spent.
async fn spent(devnet: &Devnet, account: &PrivateKeySigner) -> u128 {
    (U256::from(u64::MAX) - devnet.balance(TOKEN, account.address()).await.unwrap()).to()
}
