//! Credits and API keys, bought on the chain: `/mpp/credits` and `/mpp/keys`.
//!
//! A key that is bought must survive a lost reply, and its secret must not be stored. So the secret
//! is derived from the server's own secret and the challenge that was paid: whoever comes again
//! with the same credential gets the same key, and the database knows its hash alone. A buyer that
//! trusts nobody makes the secret itself and sends its hash.
//!
//! A key spends its wallet's account, so it counts who authorised the payment ([`Authority`]): an access key with limits
//! of its own buys a key that can spend what it paid and no more, and who moves another account's money by an allowance
//! buys credit for that account and no key.

use std::sync::Arc;

use axum::extract::State as AppState;
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use hmac::{Hmac, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use utoipa::ToSchema;

use crate::app::App;
use crate::config::{Pack, Secret};
use crate::funding::{Authority, Goods, Paid, SoldKey, WorkResult};
use crate::http::State;
use crate::http::error::{Code, HttpError, Problem};
use crate::http::gates::wallet::answer;
use crate::http::gates::{delivery, payable, payment};
use crate::http::params::Params;
use crate::http::request::Received;
use crate::http::routes::management::billing::Packs;
use crate::http::routes::management::keys::KeyBody;
use crate::keys::{KeyId, MintedKey, SecretHash};
use crate::money::Money;
use crate::payments::{Delivery, Offer, Payer};

/// Keeps derived secrets apart from everything else that the server's secret signs.
const DERIVATION: &[u8] = b"farebox: secret of a sold API key\0";

/// Note of a purchase whose sender is not the account that paid.
const NO_AUTHORITY: &str = "the account that paid did not send the transaction itself, so it has the credits and no key \
     was made; it can make one with POST /api/v1/keys";

/// Credits to buy.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreditsBody {
    #[schema(example = "starter")]
    #[serde(alias = "pack")]
    pack_id: String,
}

/// A key to buy, with credits.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyPurchaseBody {
    #[schema(example = "starter")]
    #[serde(alias = "pack")]
    pack_id: String,
    name: Option<String>,
    /// SHA-256, in hexadecimal, of a secret that you made: 43 characters of base64url. The key is
    /// then `prefix` and your secret.
    secret_hash: Option<String>,
}

/// Bought credits.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CreditPurchase {
    /// Wallet whose account has them.
    wallet: String,
    pack_id: String,
    #[schema(example = "10.00")]
    price_usd: String,
    #[schema(example = "10.00")]
    credits_usd: String,
}

/// A bought key with its credits.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct KeyPurchase {
    #[serde(flatten)]
    credits: CreditPurchase,
    /// The key; missing where the payment gives no authority over the account, as `note` says.
    #[serde(flatten)]
    key: Option<SoldKeyView>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// A sold key.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SoldKeyView {
    id: String,
    name: String,
    /// Beginning of the key's text.
    prefix: String,
    /// SHA-256 of its secret, in hexadecimal.
    secret_hash: String,
    /// True if the buyer made the secret: the key is `prefix` and that.
    secret_is_yours: bool,
    /// Dollars that it can spend in all; no limit when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    total_usd: Option<Money>,
    /// The whole key, unless the buyer made its secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

/// List what keys and credits can be bought.
#[utoipa::path(get, path = "/mpp/keys", operation_id = "mpp_list_packs", tag = "free",
    responses((status = 200, description = "`packs`: what is paid and what is credited", body = Packs)))]
pub async fn packs(AppState(app): AppState<State>, request: Received) -> Response {
    answer(StatusCode::OK, &Packs::new(&app, request.id))
}

/// Answers a request that asks for nothing with the price of the cheapest pack.
async fn probe(app: &State, request: &Received, service: &'static str) -> Result<(), HttpError> {
    let cheapest = app.config.billing.packs.iter().min_by_key(|pack| pack.price);
    let offers = cheapest.and_then(|pack| app.offers.packs.get(&pack.id));
    match offers {
        Some(offers) => payment::probe(app, request, offers, service).await,
        None => Ok(()),
    }
}

/// Buy credits for the paying wallet.
#[utoipa::path(post, path = "/mpp/credits", operation_id = "mpp_buy_credits", tag = "payable",
    params(("Idempotency-Key" = Option<String>, Header)),
    request_body(content = CreditsBody, example = json!({"packId": "starter"})),
    responses(
        (status = 200, description = "The wallet's account has the credits", body = CreditPurchase),
        (status = 400, description = "No such pack; free", body = Problem, content_type = "application/problem+json"),
        (status = 402, description = "Pay a challenge of WWW-Authenticate", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Another request works on this credential", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Outcome open: send the same again", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn credits(AppState(app): AppState<State>, request: Received) -> Result<Response, HttpError> {
    probe(&app, &request, "credits").await?;
    let body: CreditsBody = body(&request)?;
    let (pack, offers) = pack(&app, &body.pack_id)?;
    payment::charge(
        &app,
        &request,
        offers,
        "credits",
        move |paid: Paid| async move { Ok(credit(&pack, &paid)) },
    )
    .await
}

/// Returns the answer of a purchase of credits, with what is credited.
pub(in crate::http) fn credit(pack: &Pack, paid: &Paid) -> WorkResult {
    let answer = to_json(&CreditPurchase::new(pack, paid.payer()));
    WorkResult { answer, goods: Some(Goods { credits: pack.credits, key: None }) }
}

/// Buy an API key with credits; both belong to the paying wallet.
///
/// The key is in the answer, which the same credential fetches again for a day.
#[utoipa::path(post, path = "/mpp/keys", operation_id = "mpp_buy_key", tag = "payable",
    params(("Idempotency-Key" = Option<String>, Header)),
    request_body(content = KeyPurchaseBody, example = json!({"packId": "starter"})),
    responses(
        (status = 200, description = "`key`, its id and credits", body = KeyPurchase),
        (status = 400, description = "The request cannot be used; free", body = Problem, content_type = "application/problem+json"),
        (status = 402, description = "Pay a challenge of WWW-Authenticate", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Another request works on this credential", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Outcome open: send the same again", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn keys(AppState(app): AppState<State>, request: Received) -> Result<Response, HttpError> {
    probe(&app, &request, "keys").await?;
    let body: KeyPurchaseBody = body(&request)?;
    let named = KeyBody::named(body.name);
    let name = named.name()?.to_owned();
    let own_hash = body.secret_hash.as_deref().map(secret_hash).transpose()?;
    let (pack, offers) = pack(&app, &body.pack_id)?;
    let challenge = challenge_id(&request);
    let seller = Arc::clone(&app);
    let sold = payment::sell_authority(&app, &request, offers, "keys", move |paid: Paid| async move {
        let credits = CreditPurchase::new(&pack, paid.payer());
        let total_limit = match paid.authority() {
            Authority::Full => None,
            Authority::Restricted => Some(pack.credits),
            Authority::Nothing => {
                let answer = KeyPurchase { credits, key: None, note: Some(NO_AUTHORITY.into()) };
                return Ok(WorkResult {
                    answer: to_json(&answer),
                    goods: Some(Goods { credits: pack.credits, key: None }),
                });
            }
        };
        let id = KeyId::random();
        let hash = if let Some(hash) = own_hash {
            hash
        } else {
            let challenge = challenge.ok_or_else(lost)?;
            derive(&seller, &seller.config.payments.secret, &id, &challenge).hash
        };
        let hash = hash.to_hex();
        let sold = SoldKeyView {
            id: id.to_string(),
            name: name.clone(),
            prefix: format!("{}{id}", seller.config.keys.prefix),
            secret_hash: hash.clone(),
            secret_is_yours: own_hash.is_some(),
            total_usd: total_limit,
            key: None,
        };
        let answer = KeyPurchase { credits, key: Some(sold), note: None };
        let key = SoldKey { id: id.to_string(), name, hash, total_limit };
        let goods = Goods { credits: pack.credits, key: Some(key) };
        Ok(WorkResult { answer: to_json(&answer), goods: Some(goods) })
    });
    let mut delivery = sold.await?;
    complete(&app, &mut delivery)?;
    let mut response = delivery::deliver(app, delivery);
    // It holds a key.
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    Ok(response)
}

/// Puts the key into an answer that is about to leave; what is stored never holds it.
fn complete(app: &App, delivery: &mut Delivery) -> Result<(), HttpError> {
    let unreadable = || HttpError::new(Code::InternalError, "the paid answer cannot be read; it stays paid");
    let mut answer: KeyPurchase = serde_json::from_str(&delivery.answer).map_err(|_| unreadable())?;
    if answer.key.is_none() && answer.note.is_none() {
        return Err(unreadable());
    }
    let Some(sold) = answer.key.as_mut().filter(|sold| !sold.secret_is_yours) else { return Ok(()) };
    let id = KeyId::parse(&sold.id).ok_or_else(unreadable)?;
    let payments = &app.config.payments;
    // The secret may have been rotated since the key was sold: its hash tells which one made it.
    let made = std::iter::once(&payments.secret).chain(&payments.previous_secret).find_map(|secret| {
        let minted = derive(app, secret, &id, &delivery.payment);
        (sold.secret_hash == minted.hash.to_hex()).then_some(minted)
    });
    let Some(made) = made else {
        return Err(HttpError::new(
            Code::CredentialSpent,
            "this key was sold and can no longer be shown; rotate it with POST /api/v1/keys/{keyId}/rotate",
        ));
    };
    sold.key = Some(made.text.expose().to_owned());
    delivery.answer = to_json(&answer);
    Ok(())
}

/// The key whose secret follows from the server's secret and a challenge.
fn derive(app: &App, secret: &Secret, id: &KeyId, challenge: &str) -> MintedKey {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).expect("HMAC takes keys of any length");
    mac.update(DERIVATION);
    mac.update(challenge.as_bytes());
    app.keys.mint_from_bytes(id, &mac.finalize().into_bytes().into())
}

/// The challenge of the request's credential.
fn challenge_id(request: &Received) -> Option<String> {
    payable::credential(&request.headers).ok().flatten().map(|credential| credential.challenge.id)
}

fn body<T: serde::de::DeserializeOwned>(request: &Received) -> Result<T, HttpError> {
    request.json_text()?;
    Params::of(request)?.read()
}

/// Returns a pack and the offers that it is sold for.
///
/// # Errors
/// 400 if there is no such pack.
pub(in crate::http) fn pack(app: &App, id: &str) -> Result<(Pack, Arc<[Offer]>), HttpError> {
    let found = app.config.billing.pack(id).cloned().zip(app.offers.packs.get(id).cloned());
    found.ok_or_else(|| HttpError::invalid("there is no such pack; GET /mpp/keys lists them"))
}

impl CreditPurchase {
    fn new(pack: &Pack, payer: &Payer) -> Self {
        Self {
            wallet: payer.name().to_owned(),
            pack_id: pack.id.clone(),
            price_usd: pack.price.to_dollars(),
            credits_usd: pack.credits.to_dollars(),
        }
    }
}

fn to_json(answer: &impl Serialize) -> String {
    serde_json::to_string(answer).expect("plain data is valid JSON")
}

fn secret_hash(text: &str) -> Result<SecretHash, HttpError> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    SecretHash::from_hex(digits).ok_or_else(|| HttpError::invalid("secretHash must be 64 hexadecimal digits"))
}

fn lost() -> HttpError {
    HttpError::new(Code::InternalError, "the key could not be made; nothing was charged, send it again")
}
