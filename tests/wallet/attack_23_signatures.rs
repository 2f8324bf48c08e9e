//! Class 23: signatures of every kind of account.

use alloy::primitives::{Address, B256, Bytes, keccak256};
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::SolValue as _;
use farebox::devnet::Devnet;
use farebox::wallet_auth::signature::hash;
use farebox_test_support::access_key::{AccessKey, Restriction};
use farebox_test_support::agent::Agent;
use farebox_test_support::harness::{Server, call_chain, funded, run, send_raw, shared_chain};
use farebox_test_support::passkey::Passkey;
use serde_json::json;

use crate::management::{BALANCE, done, fields, line, nonce, now, post, refused};

/// Returns ERC-1271's "valid" when the first byte of the signature is 0xaa.
const ACCEPTS_0XAA: &str = "60643560f81c60aa14631626ba7e0260e01b60005260206000f3";
/// Returns what it was sent, as a precompile does.
const ECHO: &str = "366000600037366000f3";
const REVERTS: &str = "60006000fd";
/// Deploys its calldata with CREATE2 and salt zero.
const FACTORY: &str = "36600060003760003660006000f500";

pub async fn set_code(chain: &Devnet, code: &str) -> Address {
    let address = PrivateKeySigner::random().address();
    call_chain(chain, "anvil_setCode", json!([address, format!("0x{code}")])).await;
    address
}

fn message() -> String {
    line("balance", "", &nonce(), &now())
}

async fn accepted(server: &Server, wallet: Address, message: &str, signature: &[u8]) {
    done(&post(server, BALANCE, &fields(wallet, message, signature)).await);
}

async fn forged(server: &Server, wallet: Address, message: &str, signature: &[u8]) {
    refused(&post(server, BALANCE, &fields(wallet, message, signature)).await, 403, "SIGNATURE_INVALID");
}

#[test]
fn attack_23_a_contract_wallet_decides_for_itself() {
    run(async {
        let (server, chain) = (Server::start().await, shared_chain().await);
        let picky = set_code(chain, ACCEPTS_0XAA).await;
        accepted(&server, picky, &message(), &[0xaa; 65]).await;
        accepted(&server, picky, &message(), &[0xaa; 300]).await;
        forged(&server, picky, &message(), &[0xab; 65]).await;
        forged(&server, picky, &message(), &[0xab; 300]).await;
        for code in [ECHO, REVERTS, "00"] {
            let wallet = set_code(chain, code).await;
            forged(&server, wallet, &message(), &[0xaa; 65]).await;
        }
        // The precompile that echoes, and one that is a token.
        for wallet in [Address::with_last_byte(4), farebox::config::PATH_USD, Address::ZERO] {
            forged(&server, wallet, &message(), &[0xaa; 65]).await;
        }
        let too_long = vec![0xaa; 17 << 10];
        forged(&server, picky, &message(), &too_long).await;
    });
}

#[test]
fn attack_23_a_wallet_that_is_not_deployed_yet_can_sign() {
    run(async {
        let (server, chain) = (Server::start().await, shared_chain().await);
        let factory = set_code(chain, FACTORY).await;
        let runtime = alloy::hex::decode(ACCEPTS_0XAA).expect("hex");
        let length = u8::try_from(runtime.len()).expect("short");
        let mut init = vec![0x60, length, 0x80, 0x60, 0x0b, 0x60, 0x00, 0x39, 0x60, 0x00, 0xf3];
        init.extend(&runtime);
        let wallet = factory.create2(B256::ZERO, keccak256(&init));
        let wrapped = |factory: Address, inner: &[u8]| {
            let inner = Bytes::copy_from_slice(inner);
            let mut bytes = (factory, Bytes::from(init.clone()), inner).abi_encode_params();
            bytes.extend(std::iter::repeat_n([0x64, 0x92], 16).flatten());
            bytes
        };
        accepted(&server, wallet, &message(), &wrapped(factory, &[0xaa; 65])).await;
        forged(&server, wallet, &message(), &wrapped(factory, &[0xab; 65])).await;
        // Another account than the one that the factory makes.
        forged(&server, Agent::random().address(), &message(), &wrapped(factory, &[0xaa; 65])).await;
        let nothing = set_code(chain, "00").await;
        forged(&server, wallet, &message(), &wrapped(nothing, &[0xaa; 65])).await;
        // Nonsense inside the wrapper.
        let mut nonsense = vec![7; 96];
        nonsense.extend(std::iter::repeat_n([0x64, 0x92], 16).flatten());
        forged(&server, wallet, &message(), &nonsense).await;
        // Nothing was deployed by asking.
        forged(&server, wallet, &message(), &[0xaa; 65]).await;
    });
}

#[test]
fn attack_23_passkeys_sign_and_only_for_themselves() {
    run(async {
        let server = Server::start().await;
        let passkey = Passkey::random();
        let text = message();
        accepted(&server, passkey.address(), &text, &passkey.plain(hash(&text))).await;
        let text = message();
        accepted(&server, passkey.address(), &text, &passkey.webauthn(hash(&text))).await;
        // Marked as Tempo's libraries do.
        let text = message();
        let marked = [passkey.webauthn(hash(&text)).as_slice(), &[0x77; 32]].concat();
        accepted(&server, passkey.address(), &text, &marked).await;
        let text = message();
        for signature in [
            passkey.plain(hash("another message")),
            passkey.webauthn(hash("another message")),
            Passkey::random().plain(hash(&text)),
            Passkey::random().webauthn(hash(&text)),
            passkey.webauthn(hash(&text))[1..].to_vec(),
        ] {
            forged(&server, passkey.address(), &text, &signature).await;
        }
    });
}

#[test]
fn attack_23_an_access_key_signs_while_the_chain_says_so() {
    run(async {
        let (server, chain) = (Server::start().await, shared_chain().await);
        let account = funded(chain).await;
        let unknown = AccessKey::unauthorized(account.address());
        let text = message();
        forged(&server, account.address(), &text, &unknown.sign_hash(hash(&text)).to_bytes()).await;
        let key = AccessKey::authorized(chain, &account, Restriction::None).await;
        accepted(&server, account.address(), &text, &key.sign_hash(hash(&text)).to_bytes()).await;
        let text = message();
        // For another account, and by another key.
        let other = AccessKey::unauthorized(Agent::random().address());
        forged(&server, account.address(), &text, &other.sign_hash(hash(&text)).to_bytes()).await;
        forged(&server, Agent::random().address(), &text, &key.sign_hash(hash(&text)).to_bytes()).await;
        forged(&server, account.address(), &text, &unknown.sign_hash(hash(&text)).to_bytes()).await;
        let revoke = account.transaction(vec![key.revoke_call()]);
        let receipt = send_raw(chain, &account.sign(revoke).raw).await;
        assert_eq!(receipt["status"], "0x1", "{receipt}");
        forged(&server, account.address(), &text, &key.sign_hash(hash(&text)).to_bytes()).await;
    });
}

#[test]
fn attack_23_questions_to_the_chain_are_counted_by_address() {
    run(async {
        let server = Server::with_config(|config| config.keys.anonymous_rpm = 3).await;
        let agent = Agent::random();
        for _ in 0..3 {
            forged(&server, agent.address(), &message(), &[0xaa; 80]).await;
        }
        let answer = post(&server, BALANCE, &fields(agent.address(), &message(), &[0xaa; 80])).await;
        refused(&answer, 429, "rate_limit_exceeded_rpm");
        assert!(answer.header("retry-after").is_some_and(|seconds| seconds.parse::<u32>().is_ok()));
        // Plain keys cost no question.
        for _ in 0..5 {
            done(&post(&server, BALANCE, &crate::management::proof(&agent, "balance", "")).await);
        }
    });
}
