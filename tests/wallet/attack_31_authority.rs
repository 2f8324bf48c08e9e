//! Class 31: what gives authority over an account takes more than moving its money.

use alloy::primitives::U256;
use alloy::sol_types::SolCall as _;
use farebox::config::PATH_USD;
use farebox::id::Timestamp;
use farebox::money::Money;
use farebox::wallet_auth::signature::hash;
use farebox_test_support::access_key::{AccessKey, Restriction};
use farebox_test_support::agent::{self, Agent, call};
use farebox_test_support::harness::{self, Server, reply, run, send_raw, shared_chain};
use serde_json::{Value, json};
use tempo_contracts::precompiles::ITIP20;

use crate::management::{
    BALANCE, CHECKOUT, KEYS, balance_of, delete, dollars, done, fields, line, nonce, now, on_every_engine,
    patch, post, proof, refused, with,
};
use crate::purchase::{BUY_CREDITS, BUY_KEYS, agent_with_funds, buy, starter_pack};

/// Calls the token with what it was called with: CALLDATACOPY, CALL, and a revert unless that succeeded.
const FORWARDS_TO_PATH_USD: &str =
    "3660006000376000600036600060007320c00000000000000000000000000000000000005af1602e5760006000fd5b00";

/// The three fields for an action, signed by an access key of the account.
fn proof_by(key: &AccessKey, account: &Agent, action: &str, key_id: &str) -> Value {
    let message = line(action, key_id, &nonce(), &now());
    fields(account.address(), &message, &key.sign_hash(hash(&message)).to_bytes())
}

/// One with a limit of a millionth, and no allowed calls to speak of, made a key and spent forty cents.
#[test]
fn attack_31_a_restricted_access_key_signs_for_nothing_that_spends() {
    run(async {
        let chain = shared_chain().await;
        let server = Server::with_config(|config| config.billing.test_checkout = true).await;
        let account = harness::funded(chain).await;
        let made = done(&post(&server, KEYS, &proof(&account, "create", "")).await);
        let id = made["id"].as_str().expect("an id");
        let (path, rotate) = (format!("{KEYS}/{id}"), format!("{KEYS}/{id}/rotate"));
        let order = json!({ "usdAmount": "10" });
        for restriction in [Restriction::Limit(PATH_USD, 1), Restriction::Calls(PATH_USD)] {
            let key = AccessKey::authorized(chain, &account, restriction).await;
            let by = |action: &str, key_id: &str| proof_by(&key, &account, action, key_id);
            for answer in [
                post(&server, KEYS, &by("create", "")).await,
                post(&server, &rotate, &by("rotate", id)).await,
                patch(&server, &path, &by("update", id)).await,
                post(&server, CHECKOUT, &with(by("checkout", ""), &order)).await,
            ] {
                refused(&answer, 403, "SIGNATURE_INVALID");
                assert!(answer.text.contains("spending limits or allowed calls"), "{}", answer.text);
            }
            // It may look.
            done(&post(&server, KEYS, &by("list", "")).await);
            done(&post(&server, BALANCE, &by("balance", "")).await);
        }
        assert_eq!(server.count("SELECT count(*) FROM api_keys").await, 1);
        let free = AccessKey::authorized(chain, &account, Restriction::None).await;
        let by = |action: &str, key_id: &str| proof_by(&free, &account, action, key_id);
        assert_eq!(post(&server, KEYS, &by("create", "")).await.status, 201);
        done(&post(&server, &rotate, &by("rotate", id)).await);
        done(&post(&server, CHECKOUT, &with(by("checkout", ""), &order)).await);
        // Ending a key is never a danger.
        let key = AccessKey::authorized(chain, &account, Restriction::Limit(PATH_USD, 1)).await;
        done(&delete(&server, &path, &proof_by(&key, &account, "revoke", id)).await);
    });
}

/// With an allowance anybody can move a wallet's money to us. That is its credit, and not a key over its account.
#[test]
fn attack_31_who_pays_with_another_wallets_allowance_gets_no_key() {
    run(on_every_engine(
        |_| {},
        async |server| {
            let chain = shared_chain().await;
            let (victim, thief) = (agent_with_funds(chain).await, agent_with_funds(chain).await);
            let allowance = ITIP20::approveCall { spender: thief.address(), amount: U256::from(30_000_000) };
            let approve = victim.transaction(vec![call(PATH_USD, allowance.abi_encode())]);
            send_raw(chain, &victim.sign(approve).raw).await;
            let paid_by_allowance = async |path: &str| {
                let challenge = reply(server.post(path, &starter_pack().to_string())).await.challenge();
                let transfer = ITIP20::transferFromWithMemoCall {
                    from: victim.address(),
                    to: challenge.recipient(),
                    amount: U256::from(challenge.amount()),
                    memo: challenge.memo(),
                };
                let signed = thief.sign(thief.transaction(vec![call(PATH_USD, transfer.abi_encode())]));
                assert_eq!(send_raw(chain, &signed.raw).await["status"], "0x1");
                victim.credential(&challenge, agent::hash(&format!("{:#x}", signed.hash)))
            };
            for round in 1..=2 {
                let (path, credential) = match round {
                    1 => (BUY_KEYS, paid_by_allowance(BUY_KEYS).await),
                    _ => (BUY_CREDITS, paid_by_allowance(BUY_CREDITS).await),
                };
                let bought = buy(server, path, &starter_pack(), &credential).await;
                let answer = bought.assert_paid().json();
                assert_eq!(answer["wallet"], json!(format!("{:#x}", victim.address())));
                assert_eq!((answer.get("key"), answer.get("id")), (None, None), "{answer}");
                assert_eq!(answer.get("note").is_some(), path == BUY_KEYS);
                // Again it is the same answer.
                server.delivered(credential["challenge"]["id"].as_str().expect("an id")).await;
                let again = buy(server, path, &starter_pack(), &credential).await;
                assert_eq!(again.assert_paid().json(), answer);
                assert_eq!(balance_of(server, &victim).await.available(), dollars(10 * round));
            }
            assert_eq!(balance_of(server, &thief).await.available(), Money::ZERO);
            assert_eq!(server.count("SELECT count(*) FROM api_keys").await, 0);
        },
    ));
}

/// The key that an access key with limits buys can spend what it paid, and no more.
#[test]
fn attack_31_a_restricted_access_key_buys_a_key_of_its_own_means() {
    run(on_every_engine(
        |_| {},
        async |server| {
            let chain = shared_chain().await;
            let account = agent_with_funds(chain).await;
            let limited =
                AccessKey::authorized(chain, &account, Restriction::Limit(PATH_USD, 50_000_000)).await;
            let free = AccessKey::authorized(chain, &account, Restriction::None).await;
            for (key, pushed, total) in [
                (&limited, false, json!("10.00")),
                (&limited, true, json!("10.00")),
                (&free, false, Value::Null),
                (&free, true, Value::Null),
            ] {
                let challenge = reply(server.post(BUY_KEYS, &starter_pack().to_string())).await.challenge();
                let signed = key.sign(account.transaction(vec![challenge.transfer()]));
                let payload = if pushed {
                    assert_eq!(send_raw(chain, &signed.raw).await["status"], "0x1");
                    agent::hash(&format!("{:#x}", signed.hash))
                } else {
                    agent::transaction(&signed.raw)
                };
                let credential = account.credential(&challenge, payload);
                let answer = buy(server, BUY_KEYS, &starter_pack(), &credential).await.assert_paid().json();
                assert_eq!(answer.get("totalUsd").cloned().unwrap_or_default(), total, "pushed: {pushed}");
                let text = answer["key"].as_str().expect("a key");
                let found = server.app.keys.authenticate(text, Timestamp::now()).await.expect("it opens");
                let expected = total.as_str().map(|_| Money::from_micros(10_000_000));
                assert_eq!(found.limits.total, expected);
            }
        },
    ));
}

/// A signature of an access key names its account, and anybody can write any account there.
#[test]
fn attack_31_a_key_that_nobody_authorised_gets_nothing_that_the_account_bought() {
    run(on_every_engine(
        |_| {},
        async |server| {
            let chain = shared_chain().await;
            let owner = agent_with_funds(chain).await;
            let under_key = async |path: &str, credential: &Value| {
                let request =
                    server.post(path, &starter_pack().to_string()).header("idempotency-key", "order-1");
                reply(request.header("authorization", agent::authorization(credential))).await
            };
            let challenge = reply(server.post(BUY_KEYS, &starter_pack().to_string())).await.challenge();
            let bought = under_key(BUY_KEYS, &owner.pull(&challenge)).await.assert_paid().json();
            let forged = AccessKey::unauthorized(owner.address());
            let limited =
                AccessKey::authorized(chain, &owner, Restriction::Limit(PATH_USD, 50_000_000)).await;
            let free = AccessKey::authorized(chain, &owner, Restriction::None).await;
            for (key, expected) in [(&forged, 402), (&limited, 409), (&free, 200)] {
                let challenge = reply(server.post(BUY_KEYS, &starter_pack().to_string())).await.challenge();
                let signed = key.sign(owner.transaction(vec![challenge.transfer()]));
                let credential = owner.credential(&challenge, agent::transaction(&signed.raw));
                let answer = under_key(BUY_KEYS, &credential).await;
                assert_eq!(answer.status, expected, "{}", answer.text);
                assert_eq!(answer.text.contains(bought["key"].as_str().expect("a key")), expected == 200);
            }
            // Nothing was made or reserved in the owner's name.
            assert_eq!(server.count("SELECT count(*) FROM payments WHERE payer IS NOT NULL").await, 1);
            assert_eq!(balance_of(server, &owner).await.available(), dollars(10));
        },
    ));
}

/// A contract that a wallet calls can pay with the wallet's allowance, for a challenge of its own choice.
#[test]
fn attack_31_what_a_called_contract_pays_buys_no_key() {
    run(async {
        let (server, chain) = (Server::start().await, shared_chain().await);
        let victim = agent_with_funds(chain).await;
        // Sends its calldata on to the token, as whoever wrote it.
        let forwarder = crate::attack_23_signatures::set_code(chain, FORWARDS_TO_PATH_USD).await;
        let allowance = ITIP20::approveCall { spender: forwarder, amount: U256::from(30_000_000) };
        let challenge = reply(server.post(BUY_KEYS, &starter_pack().to_string())).await.challenge();
        let transfer = ITIP20::transferFromWithMemoCall {
            from: victim.address(),
            to: challenge.recipient(),
            amount: U256::from(challenge.amount()),
            memo: challenge.memo(),
        };
        let calls = vec![call(PATH_USD, allowance.abi_encode()), call(forwarder, transfer.abi_encode())];
        let signed = victim.sign(victim.transaction(calls));
        let receipt = send_raw(chain, &signed.raw).await;
        assert_eq!(receipt["status"], "0x1", "{receipt}");
        let credential = victim.credential(&challenge, agent::hash(&format!("{:#x}", signed.hash)));
        let answer = buy(&server, BUY_KEYS, &starter_pack(), &credential).await.assert_paid().json();
        assert_eq!(answer.get("key"), None, "{answer}");
        assert_eq!(balance_of(&server, &victim).await.available(), dollars(10));
    });
}
