//! `/openapi.json`: the documentation of the routes, made from their types and
//! completed from the configuration: names, prices, terms.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use utoipa::{PartialSchema as _, ToSchema as _};

use crate::config::Config;
use crate::http::error::{ApiError, Shape};
use crate::money::Money;
use crate::offers::Offers;
use crate::offers::sessions::Sessions;
use crate::payments::{Intent, Method, Offer, Offered as _};

/// Advice for an agent before its first call.
const GUIDANCE: &str = "Send the request without payment first: bad input is answered with 400 and costs \
nothing, good input with 402 and one `WWW-Authenticate: Payment` header per offer. Pay one (method tempo, \
intent charge: sign the TIP-20 transfer with the challenge's memo) and send the very same request again with \
`Authorization: Payment <credential>`. The answer carries a Payment-Receipt. After 409 or 503 send the same \
request with the same credential again: it is not charged twice. Add an Idempotency-Key to be able to fetch \
an answer again after it was delivered. 403 means the credential was used. A chat request (intent session) that \
is sent again without an Idempotency-Key is served and charged again; with one it is charged once, and 409 says \
that it was. Vouchers, top-ups, opens and closes can be repeated.";

/// Makes the complete document, which is one for all requests.
pub fn document(config: &Config, offers: &Offers, sessions: Option<&Sessions>) -> Value {
    let (_, api) = crate::http::routes::api().split_for_parts();
    let mut document = serde_json::to_value(api).expect("an OpenAPI document is valid JSON");
    let product = &config.product;
    document["info"] = json!({
        "title": format!("{} API", product.name),
        "version": env!("CARGO_PKG_VERSION"),
        "description": product.description,
        "contact": contact(config),
        "x-guidance": GUIDANCE,
    });
    document["servers"] = json!([{ "url": config.server.public_url }]);
    document["x-service-info"] = json!({
        "categories": ["data", "developer-tools"],
        "docs": {
            "homepage": product.homepage.as_deref().unwrap_or(&config.server.public_url),
            "apiReference": format!("{}/openapi.json", config.server.public_url),
            "llms": format!("{}/llms.txt", config.server.public_url),
        },
    });
    mark_public(&mut document);
    describe_errors(&mut document);
    // Marks a wallet's signature for registries that know no such scheme.
    document["components"]["securitySchemes"] = json!({
        "wallet": {
            "type": "http",
            "scheme": "Payment",
            "description": "A zero-amount Payment proof signed by the wallet",
            "x-agentcash-auth-kind": "siwx",
        },
        "walletMessage": {
            "type": "apiKey",
            "in": "query",
            "name": "signature",
            "description": "With walletAddress and message, as query parameters or in a JSON body",
        },
        "apiKey": {
            "type": "http",
            "scheme": "bearer",
            "description": "An API key of a wallet with prepaid credits",
        },
    });
    let mut previews = vec![&offers.preview];
    previews.extend(&offers.preview_sponsored);
    let payable: Vec<&Offer> = previews.into_iter().flat_map(|offers| offers.iter()).collect();
    document["paths"]["/mpp/pii/preview"]["post"]["x-payment-info"] = payment_info(&payable, config);
    for path in ["/mpp/credits", "/mpp/keys"] {
        describe_packs(&mut document["paths"][path], offers, config);
    }
    match sessions {
        Some(sessions) => {
            let chat = &mut document["paths"]["/mpp/chat/completions"]["post"];
            chat["x-payment-info"] = session_info(sessions, config);
            // Validators replay the example: it must name a model there is.
            let model = sessions.catalog.iter().next().map(|model| model.id.as_str());
            chat["requestBody"]["content"]["application/json"]["example"]["model"] = json!(model);
            document["paths"]["/v1/chat/completions"]["post"]["requestBody"]["content"]["application/json"]
                ["example"]["model"] = json!(model);
        }
        None => {
            if let Some(paths) = document["paths"].as_object_mut() {
                paths.remove("/mpp/chat/completions");
            }
        }
    }
    share_responses(&mut document);
    document
}

/// Adds the prices of packs, where there are any.
fn describe_packs(path: &mut Value, offers: &Offers, config: &Config) {
    let packs = &config.billing.packs;
    let Some(first) = packs.first() else {
        if let Some(operations) = path.as_object_mut() {
            operations.remove("post");
        }
        return;
    };
    let listed = packs.iter().filter_map(|pack| offers.packs.get(&pack.id)).flat_map(|offers| offers.iter());
    let listed: Vec<&Offer> = listed.collect();
    let prices = || packs.iter().map(|pack| pack.price);
    let (least, most) = (prices().min().unwrap_or(first.price), prices().max().unwrap_or(first.price));
    let mut info = payment_info(&listed, config);
    info["price"] = json!({
        "mode": "dynamic", "currency": "USD", "min": least.to_dollars(), "max": most.to_dollars(),
    });
    path["post"]["x-payment-info"] = info;
    // Validators replay the example: it must name a pack there is.
    path["post"]["requestBody"]["content"]["application/json"]["example"]["packId"] = json!(first.id);
}

/// Makes `x-payment-info` of a metered operation: a price per chunk and model, and the
/// range that one request can cost.
fn session_info(sessions: &Sessions, config: &Config) -> Value {
    let currency = format!("{:#x}", config.chain.currency);
    let listed: Vec<Value> = sessions
        .offers()
        .map(|(model, offer)| {
            json!({
                "intent": Intent::Session.as_str(),
                "method": Method::Tempo.as_str(),
                "amount": offer.unit_price().to_base_units(),
                "currency": currency,
                "description": format!("One chunk of {model}"),
            })
        })
        .collect();
    let models = || sessions.catalog.iter();
    let least = models().map(|model| model.price_per_chunk).min().unwrap_or(Money::ZERO);
    let most = models()
        .filter_map(|model| model.price_per_chunk.checked_mul(model.max_output_tokens))
        .max()
        .unwrap_or(least);
    json!({
        "offers": listed,
        "price": { "mode": "dynamic", "currency": "USD", "min": least.to_dollars(), "max": most.to_dollars() },
        "protocols": [{ "mpp": { "method": Method::Tempo.as_str(), "intent": Intent::Session.as_str(), "currency": currency } }],
    })
}

/// Marks operations without a security requirement as open to everyone, which OpenAPI
/// wants to be explicit.
fn mark_public(document: &mut Value) {
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    for operation in paths.flat_map(|(_, methods)| methods.as_object_mut().into_iter().flatten()) {
        if let Some(operation) = operation.1.as_object_mut() {
            operation.entry("security").or_insert_with(|| json!([]));
        }
    }
}

/// Adds the errors that management operations share: a request that cannot be read, a
/// part of the server that is down, and one shape for all of them.
fn describe_errors(document: &mut Value) {
    let mut schemas = vec![(ApiError::name().into_owned(), ApiError::schema())];
    ApiError::schemas(&mut schemas);
    for (name, schema) in schemas {
        document["components"]["schemas"][name] = json!(schema);
    }
    let shape = json!({ "application/json": { "schema": { "$ref": "#/components/schemas/ApiError" } } });
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    let managed = paths.filter(|(path, _)| Shape::of(path) == Shape::Management);
    for (_, operation) in managed.flat_map(|(_, methods)| methods.as_object_mut().into_iter().flatten()) {
        let Some(responses) = operation["responses"].as_object_mut() else { continue };
        if responses.contains_key("401") {
            for (status, description) in [
                ("400", "The request cannot be read"),
                ("413", "Too large"),
                ("429", "Too many signatures of this address; see Retry-After"),
                ("500", "Not done; send it again"),
                ("503", "A part is down; send it again"),
            ] {
                responses.entry(status).or_insert_with(|| json!({ "description": description }));
            }
        }
        for (status, response) in responses {
            if status.starts_with(['4', '5']) {
                response["content"] = shape.clone();
            }
        }
    }
}

/// Makes the document of what agents pay for, of the complete one: registries read none above 64 KiB.
pub fn for_agents(complete: &Value, config: &Config) -> Value {
    let mut document = complete.clone();
    if let Some(paths) = document["paths"].as_object_mut() {
        paths.retain(|path, _| Shape::of(path) == Shape::Problem);
    }
    document["externalDocs"] = json!({
        "description": "The complete API",
        "url": format!("{}/openapi-full.json", config.server.public_url),
    });
    keep_used_components(&mut document);
    document
}

/// Removes components that no operation refers to.
fn keep_used_components(document: &mut Value) {
    let mut components = document["components"].take();
    let mut used = BTreeSet::new();
    let mut found = references(document);
    while let Some(reference) = found.pop_first() {
        let name = reference.trim_start_matches("#/components");
        if used.insert(name.to_owned())
            && let Some(component) = components.pointer(name)
        {
            found.extend(references(component));
        }
    }
    for kind in ["schemas", "responses"] {
        if let Some(named) = components[kind].as_object_mut() {
            named.retain(|name, _| used.contains(&format!("/{kind}/{name}")));
        }
    }
    document["components"] = components;
}

/// Returns the references within a value.
fn references(value: &Value) -> BTreeSet<String> {
    match value {
        Value::Array(items) => items.iter().flat_map(references).collect(),
        Value::Object(members) => {
            let own = members.get("$ref").and_then(Value::as_str).map(str::to_owned);
            members.values().flat_map(references).chain(own).collect()
        }
        _ => BTreeSet::new(),
    }
}

/// Names the responses that several operations have, and refers to them: the smaller, the more read it.
fn share_responses(document: &mut Value) {
    let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
    let place = |status: &str, response: &Value| (status.to_owned(), response.to_string());
    for_each_response(document, |status, response| {
        *counts.entry(place(status, response)).or_default() += 1;
    });
    let shared = counts.into_iter().filter(|(_, count)| *count > 1).map(|(place, _)| place);
    let named: BTreeMap<(String, String), String> =
        shared.enumerate().map(|(n, place)| (place.clone(), format!("Status{}.{n}", place.0))).collect();
    for_each_response(document, |status, response| {
        if let Some(name) = named.get(&place(status, response)) {
            *response = json!({ "$ref": format!("#/components/responses/{name}") });
        }
    });
    for ((_, response), name) in named {
        let response: Value = serde_json::from_str(&response).expect("it was JSON");
        document["components"]["responses"][name] = response;
    }
}

fn for_each_response(document: &mut Value, mut visit: impl FnMut(&str, &mut Value)) {
    let operations = document["paths"].as_object_mut().into_iter().flatten();
    for (_, operation) in operations.flat_map(|(_, methods)| methods.as_object_mut().into_iter().flatten()) {
        for (status, response) in operation["responses"].as_object_mut().into_iter().flatten() {
            visit(status, response);
        }
    }
}

/// Makes `x-payment-info` (draft-payment-discovery-00), with the fields that
/// registries of the x402 family read.
fn payment_info(offers: &[&Offer], config: &Config) -> Value {
    let currency = format!("{:#x}", config.chain.currency);
    let listed: Vec<Value> = offers
        .iter()
        .map(|offer| {
            json!({
                "intent": Intent::Charge.as_str(),
                "method": Method::Tempo.as_str(),
                "amount": offer.amount().to_base_units(),
                "currency": offer.currency(),
                "description": offer.description(),
            })
        })
        .collect();
    let price = offers.first().map(|offer| offer.amount().to_dollars()).unwrap_or_default();
    json!({
        "offers": listed,
        "price": { "mode": "fixed", "currency": "USD", "amount": price },
        "protocols": [{ "mpp": { "method": Method::Tempo.as_str(), "intent": Intent::Charge.as_str(), "currency": currency } }],
    })
}

fn contact(config: &Config) -> Value {
    match config.product.contact.as_deref() {
        Some(address) if address.contains('@') => json!({ "name": config.product.name, "email": address }),
        Some(url) => json!({ "name": config.product.name, "url": url }),
        None => json!({ "name": config.product.name, "url": config.server.public_url }),
    }
}
