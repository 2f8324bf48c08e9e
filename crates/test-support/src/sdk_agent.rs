//! A paying agent in its smallest form: it asks for a challenge, signs it, and can send the same
//! credential as often as it likes.

use std::time::Duration;

use alloy::primitives::{Address, B256, U256, keccak256};
use alloy::signers::local::PrivateKeySigner;
use farebox::devnet::{Devnet, TOKENS};
use mpp::client::tempo::charge::{SignOptions, TempoCharge};
use mpp::{PaymentChallenge, PaymentCredential, PaymentPayload};
use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use serde_json::{Value, json};

/// Token of prices: pathUSD.
pub const CURRENCY: Address = TOKENS[0];
/// Token of the agents' network fees. Another one, so that the decrease of [`CURRENCY`] is exactly
/// what was paid.
pub const FEES: Address = TOKENS[1];
/// Base units of each token that an agent gets: $50.
pub const FUNDS: u64 = 50_000_000;
/// Enough for a transfer to an account that never held the token.
const GAS: u64 = 1_000_000;

/// A wallet and its HTTP client.
#[derive(Debug, Clone)]
pub struct SdkAgent {
    signer: PrivateKeySigner,
    /// The chain, past all faults.
    chain: String,
    http: reqwest::Client,
}

/// One request to a paid route. Sending it again is sending the same bytes.
#[derive(Debug, Clone)]
pub struct PaidRequest {
    pub url: String,
    pub body: String,
    pub idempotency_key: Option<String>,
}

/// The server's answer.
#[derive(Debug, Clone)]
pub struct PaidAnswer {
    pub status: StatusCode,
    /// The challenges of a 402.
    pub challenges: Vec<PaymentChallenge>,
    pub retry_after: Option<Duration>,
    pub receipt: Option<String>,
    pub body: String,
}

impl PaidRequest {
    /// A preview of `text` at the server of `origin`.
    pub fn preview(origin: &str, text: &str) -> Self {
        Self {
            url: format!("{origin}/mpp/pii/preview"),
            body: json!({ "text": text }).to_string(),
            idempotency_key: None,
        }
    }
}

impl SdkAgent {
    /// A new wallet with [`FUNDS`] of [`CURRENCY`] and of [`FEES`].
    pub async fn funded(devnet: &Devnet) -> Self {
        let signer = PrivateKeySigner::random();
        for token in [CURRENCY, FEES] {
            devnet.fund(signer.address(), token, FUNDS).await.expect("the chain funds the agent");
        }
        // No connection is kept: a server that died must not be mistaken for one that answers.
        let http = reqwest::Client::builder().pool_max_idle_per_host(0).build().expect("a plain client");
        Self { signer, chain: devnet.anvil_url().to_owned(), http }
    }

    pub fn address(&self) -> Address {
        self.signer.address()
    }

    /// Sends the request, with a credential if there is one.
    ///
    /// # Errors
    /// [`reqwest::Error`] when no whole answer came back.
    pub async fn send(
        &self,
        request: &PaidRequest,
        credential: Option<&str>,
    ) -> Result<PaidAnswer, reqwest::Error> {
        let mut builder =
            self.http.post(&request.url).header(CONTENT_TYPE, "application/json").body(request.body.clone());
        if let Some(credential) = credential {
            builder = builder.header(AUTHORIZATION, credential);
        }
        if let Some(key) = &request.idempotency_key {
            builder = builder.header("idempotency-key", key);
        }
        let response = builder.send().await?;
        let headers = response.headers();
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let offers = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        Ok(PaidAnswer {
            status: response.status(),
            challenges: mpp::parse_www_authenticate_all(offers).into_iter().filter_map(Result::ok).collect(),
            retry_after: text(RETRY_AFTER.as_str())
                .and_then(|seconds| seconds.parse().ok())
                .map(Duration::from_secs),
            receipt: text("payment-receipt"),
            body: response.text().await?,
        })
    }

    /// Asks without paying and takes the first challenge.
    ///
    /// # Errors
    /// [`reqwest::Error`] when no whole answer came back.
    pub async fn challenge(&self, request: &PaidRequest) -> Result<PaymentChallenge, reqwest::Error> {
        let mut answer = self.send(request, None).await?;
        assert_eq!(answer.status, StatusCode::PAYMENT_REQUIRED, "{}", answer.body);
        Ok(answer.challenges.remove(0))
    }

    /// The `Authorization` value that lets the server send the payment (pull).
    pub async fn pull(&self, challenge: &PaymentChallenge) -> String {
        header(&self.sign(challenge).await)
    }

    /// Pays, and returns the `Authorization` value that names the payment (push).
    pub async fn push(&self, challenge: &PaymentChallenge) -> String {
        let signed = self.sign(challenge).await;
        let payload = signed.charge_payload().expect("a charge");
        let raw = payload.signed_tx().expect("a transaction of the payer's own");
        let receipt = self.rpc("eth_sendRawTransactionSync", json!([raw])).await;
        assert_eq!(receipt["status"], "0x1", "{receipt}");
        let hash = receipt["transactionHash"].as_str().expect("a receipt names its transaction");
        let payload = PaymentPayload::hash(hash);
        header(&match signed.source {
            Some(source) => PaymentCredential::with_source(signed.challenge, source, payload),
            None => PaymentCredential::new(signed.challenge, payload),
        })
    }

    async fn sign(&self, challenge: &PaymentChallenge) -> PaymentCredential {
        let options = SignOptions {
            rpc_url: Some(self.chain.clone()),
            gas_limit: Some(GAS),
            fee_token: Some(FEES),
            ..SignOptions::default()
        };
        let charge = TempoCharge::from_challenge(challenge).expect("a Tempo charge");
        let signed = charge.sign_with_options(&self.signer, options).await.expect("the agent can sign");
        signed.into_credential()
    }

    /// Every transfer with a memo that left this wallet for `recipient`, as the chain remembers:
    /// transaction and amount.
    pub async fn debits(&self, recipient: Address) -> Vec<(B256, U256)> {
        let event = keccak256("TransferWithMemo(address,address,uint256,bytes32)");
        let filter = json!([{
            "fromBlock": "0x0", "address": CURRENCY,
            "topics": [event, self.address().into_word(), recipient.into_word()],
        }]);
        let logs = self.rpc("eth_getLogs", filter).await;
        let debit = |log: &Value| {
            let word = |name: &str| -> B256 { serde_json::from_value(log[name].clone()).expect("one word") };
            (word("transactionHash"), U256::from_be_bytes(word("data").0))
        };
        logs.as_array().expect("logs are a list").iter().map(debit).collect()
    }

    async fn rpc(&self, method: &str, params: Value) -> Value {
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let answer = self.http.post(&self.chain).json(&request).send().await.expect("the chain answers");
        let mut answer: Value = answer.json().await.expect("JSON");
        assert_eq!(answer.get("error"), None, "{method}");
        answer["result"].take()
    }
}

fn header(credential: &PaymentCredential) -> String {
    mpp::format_authorization(credential).expect("credentials fit a header")
}
