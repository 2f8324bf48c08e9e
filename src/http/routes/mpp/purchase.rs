//! Credits and API keys, bought on the chain: `/mpp/credits` and `/mpp/keys`.
//!
//! A key that is bought must survive a lost reply, and its secret must not be stored. So the secret
//! is derived from the server's own secret and the challenge that was paid: whoever comes again
//! with the same credential gets the same key, and the database knows its hash alone. A buyer that
//! trusts nobody makes the secret itself and sends its hash.

use std::sync::Arc;

use axum::extract::State as AppState;
use axum::http::StatusCode;
use axum::response::Response;
use hmac::{Hmac, Mac as _};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::Sha256;
use utoipa::ToSchema;

use crate::app::App;
use crate::config::{Pack, Secret};
use crate::funding::{Goods, Paid, SoldKey, WorkResult};
use crate::http::State;
use crate::http::error::{Code, HttpError, Problem};
use crate::http::gates::payment;
use crate::http::gates::wallet::answer;
use crate::http::params::Params;
use crate::http::request::Received;
use crate::http::routes::management::billing::Packs;
use crate::http::routes::management::keys::KeyBody;
use crate::keys::{KeyId, MintedKey, SecretHash};
use crate::payments::{Delivery, Offer, Payer};

/// Keeps derived secrets apart from everything else that the server's secret signs.
const DERIVATION: &[u8] = b"farebox: secret of a sold API key\0";

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

/// List what keys and credits can be bought.
#[utoipa::path(get, path = "/mpp/keys", tag = "free",
    responses((status = 200, description = "`packs`: what is paid and what is credited", body = Packs)))]
pub async fn packs(AppState(app): AppState<State>, request: Received) -> Response {
    answer(StatusCode::OK, &Packs::new(&app.config, request.id))
}

/// Buy credits for the paying wallet.
#[utoipa::path(post, path = "/mpp/credits", tag = "payable",
    params(("Idempotency-Key" = Option<String>, Header)),
    request_body(content = CreditsBody, example = json!({"packId": "starter"})),
    responses(
        (status = 200, description = "The wallet's account has the credits"),
        (status = 400, description = "No such pack; free", body = Problem, content_type = "application/problem+json"),
        (status = 402, description = "Pay a challenge of WWW-Authenticate", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Another request works on this credential", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Outcome open: send the same again", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn credits(AppState(app): AppState<State>, request: Received) -> Result<Response, HttpError> {
    let body: CreditsBody = body(&request)?;
    let (pack, offers) = pack(&app, &body.pack_id)?;
    payment::charge(&app, &request, offers, "credits", move |paid: Paid| async move {
        let answer = bought(&pack, paid.payer()).to_string();
        Ok(WorkResult { answer, goods: Some(Goods { credits: pack.credits, key: None }) })
    })
    .await
}

/// Buy an API key with credits; both belong to the paying wallet.
///
/// The key is in the answer, which the same credential fetches again for a day.
#[utoipa::path(post, path = "/mpp/keys", tag = "payable",
    params(("Idempotency-Key" = Option<String>, Header)),
    request_body(content = KeyPurchaseBody, example = json!({"packId": "starter"})),
    responses(
        (status = 200, description = "`key`, its id and credits"),
        (status = 400, description = "The request cannot be used; free", body = Problem, content_type = "application/problem+json"),
        (status = 402, description = "Pay a challenge of WWW-Authenticate", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Another request works on this credential", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "Outcome open: send the same again", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn keys(AppState(app): AppState<State>, request: Received) -> Result<Response, HttpError> {
    let body: KeyPurchaseBody = body(&request)?;
    let named = KeyBody::named(body.name);
    let name = named.name()?.to_owned();
    let own_hash = body.secret_hash.as_deref().map(secret_hash).transpose()?;
    let (pack, offers) = pack(&app, &body.pack_id)?;
    let challenge = challenge_id(&request);
    let seller = Arc::clone(&app);
    let sold = payment::sell(&app, &request, offers, "keys", move |paid: Paid| async move {
        let id = KeyId::random();
        let hash = if let Some(hash) = own_hash {
            hash
        } else {
            let challenge = challenge.ok_or_else(lost)?;
            derive(&seller, &seller.config.payments.secret, &id, &challenge).hash
        };
        let hash = hash.to_hex();
        let mut fields = bought(&pack, paid.payer());
        fields["id"] = json!(id.as_str());
        fields["name"] = json!(name);
        fields["prefix"] = json!(format!("{}{id}", seller.config.keys.prefix));
        fields["secretHash"] = json!(hash);
        fields["secretIsYours"] = json!(own_hash.is_some());
        let key = SoldKey { id: id.to_string(), name, hash };
        let goods = Goods { credits: pack.credits, key: Some(key) };
        Ok(WorkResult { answer: fields.to_string(), goods: Some(goods) })
    });
    let mut delivery = sold.await?;
    complete(&app, &mut delivery)?;
    Ok(payment::deliver(app, delivery))
}

/// Puts the key into an answer that is about to leave; what is stored never holds it.
fn complete(app: &App, delivery: &mut Delivery) -> Result<(), HttpError> {
    let unreadable = || HttpError::new(Code::InternalError, "the paid answer cannot be read; it stays paid");
    let mut fields: Value = serde_json::from_str(&delivery.answer).map_err(|_| unreadable())?;
    if fields["secretIsYours"] == true {
        return Ok(());
    }
    let id = fields["id"].as_str().and_then(KeyId::parse).ok_or_else(unreadable)?;
    let payments = &app.config.payments;
    // The secret may have been rotated since the key was sold: its hash tells which one made it.
    let made = std::iter::once(&payments.secret).chain(&payments.previous_secret).find_map(|secret| {
        let minted = derive(app, secret, &id, &delivery.payment);
        (fields["secretHash"] == minted.hash.to_hex()).then_some(minted)
    });
    let Some(minted) = made else {
        return Err(HttpError::new(
            Code::CredentialSpent,
            "this key was sold and can no longer be shown; rotate it with POST /api/v1/keys/{keyId}/rotate",
        ));
    };
    fields["key"] = json!(minted.text.expose());
    delivery.answer = fields.to_string();
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
    payment::credential(&request.headers).ok().flatten().map(|credential| credential.challenge.id)
}

fn body<T: serde::de::DeserializeOwned>(request: &Received) -> Result<T, HttpError> {
    request.json_text()?;
    Params::of(request)?.read()
}

fn pack(app: &App, id: &str) -> Result<(Pack, Arc<[Offer]>), HttpError> {
    let found = app.config.billing.pack(id).cloned().zip(app.offers.packs.get(id).cloned());
    found.ok_or_else(|| HttpError::invalid("there is no such pack; GET /mpp/keys lists them"))
}

fn bought(pack: &Pack, payer: &Payer) -> Value {
    json!({
        "wallet": payer.name(),
        "packId": pack.id,
        "priceUsd": pack.price.to_dollars(),
        "creditsUsd": pack.credits.to_dollars(),
    })
}

fn secret_hash(text: &str) -> Result<SecretHash, HttpError> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    SecretHash::from_hex(digits).ok_or_else(|| HttpError::invalid("secretHash must be 64 hexadecimal digits"))
}

fn lost() -> HttpError {
    HttpError::new(Code::InternalError, "the key could not be made; nothing was charged, send it again")
}
